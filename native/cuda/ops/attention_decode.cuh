// Attention of few query rows, 16 at most, to many keys, as in decoding: every key and value is read once and multiplied by a fragment of
// 16 rows, so the memory's bandwidth is the limit, and what counts is how many bytes are under way and how few instructions a warp needs
// for them. The warps of a block hold the same rows and take tiles of keys in turn, each with stages of its own in shared memory: nothing
// is shared before the end, when the warps' sums are added in order, and no warp waits for another. Blocks share keys by parts
// (prim/attention_forward.cuh).
#include "../prim/attention_forward.cuh"

namespace tilewise::TILEWISE_GPU {
namespace {

using namespace attention_tile;

constexpr int kRows = kFewRows, kMostWarps = 4;

// A tile: keys, and values beside them. Two products of scores at least, 4 KB of each where rows allow.
template <class T, int P>
constexpr int kKeys = P * sizeof(T) >= 256 ? 16 : 32;
template <class T, int P>
constexpr int kStage = 2 * kKeys<T, P>* P;  // elements
// One of them is multiplied, the others are under way.
template <class T, int P>
constexpr int kStages = P * sizeof(T) > 512 ? 2 : 3;
template <class T, int P>
constexpr size_t kWarpBytes = kStages<T, P>* kStage<T, P> * sizeof(T);
template <class T, int P>
constexpr size_t kQueryBytes = kRows* P * sizeof(T);

constexpr int kLeastRounds = 2;  // of tiles, one a warp, in a part

// What a warp leaves for the others, where its stages were: rows of sums, their largest scores and their totals. The pitch lets the pairs
// that 16 lanes store lie in all banks.
template <int P>
constexpr int kSumPitch = P + 8;
template <int P>
constexpr int kMosts = kRows* kSumPitch<P>;
template <int P>
constexpr int kTotals = kMosts<P> + kRows;
template <class T, int P>
__device__ __forceinline__ float* sums_of(T* shared, int warp) {
  return reinterpret_cast<float*>(shared + kRows * P + warp * kStages<T, P> * kStage<T, P>);
}

// A value of this lane, as the compiler may not make it again from the thread's number in each turn of a loop.
template <class T>
__device__ __forceinline__ T pinned(T value) {
  return __shfl_sync(0xffffffffu, value, threadIdx.x % kWarpSize);
}

// The tiles of one warp on their way into its stages. A lane copies the same 16 bytes of every kDown-th row.
template <class T, int P>
struct KeyStream {
  static constexpr int kTileKeys = kKeys<T, P>, kChunks = P / kChunk<T>;
  static constexpr int kAcross = kChunks < kWarpSize ? kChunks : kWarpSize, kDown = kWarpSize / kAcross;
  static constexpr uint32_t kAbsent = 0xffffffffu;

  const Forward& a;
  const KeyTiles<kTileKeys>& tiles;
  T* shared;  // all that is dynamic
  int b;
  bool vectors;       // 16 bytes of a row lie together and aligned, all of them inside of it or none
  int lane, column;   // the first that the lane copies
  int at;             // the element of shared memory that it copies there, of the first stage and row
  const T *k, *v;     // what it copies of key 0 or, of a paged cache, of the first row of all; else the head's first element
  int32_t page, row;  // of a paged cache: the place of key `lane` of the tile that is loaded next; row -1: there is none

  __device__ __forceinline__ KeyStream(const Forward& a, const KeyTiles<kTileKeys>& tiles, T* shared, int stages,
                                       const AttentionSequence& s, int kv_head, bool vectors)
      : a(a),
        tiles(tiles),
        shared(shared),
        b(s.b),
        vectors(vectors),
        lane(pinned(static_cast<int>(threadIdx.x % kWarpSize))),
        page(0),
        row(-1) {
    const int down = lane / kAcross, across = lane % kAcross, table_b = a.cache.table ? 0 : b;
    column = pinned(across * kChunk<T>);
    at = pinned(stages + (vectors ? tile_at<T, P>(down, across) : 0));
    k = a.k.of<T>(table_b, s.first_k, kv_head, 1).base;
    v = a.v.of<T>(table_b, s.first_k, kv_head, 1).base;
    if (!vectors) return;
    k += column;
    v += column;
    if (a.cache.table) return;
    k += down * a.k.row_stride;
    v += down * a.v.row_stride;
  }

  // Looks up where the keys of a tile lie. Their page is not waited for before the tile is loaded.
  __device__ __forceinline__ void find(int tile) {
    if (!a.cache.table || tile >= tiles.count) return;
    const int key = tiles.first(tile) + lane;
    row = -1;
    if (lane >= kTileKeys || key >= tiles.last(tile)) return;
    const uint32_t size = static_cast<uint32_t>(a.cache.page_size), entry = static_cast<uint32_t>(key) / size;
    row = static_cast<int32_t>(static_cast<uint32_t>(key) - entry * size);
    page = load_constant(a.cache.table + int64_t{b} * a.cache.width + entry)[0];
  }

  __device__ __forceinline__ void load(int tile, int stage) {
    if (tile >= tiles.count) return;
    const int first = tiles.first(tile), last = tiles.last(tile), to = at + stage * kStage<T, P>;
    if (a.cache.table && row >= 0 && !a.cache.has(page)) {
      report_fault(a.cache.fault, 1, int64_t{b} * a.cache.width + (first + lane) / a.cache.page_size, page);
      row = -1;
    }
    if (!vectors) {
      load_elements(to, k, a.k, first, last);
      load_elements(to + kTileKeys * P, v, a.v, first, last);
    } else if (a.cache.table) {
      load_pages(to);
    } else if (first + kTileKeys <= last) {
      load_rows<true>(to, first, 0);
    } else {
      load_rows<false>(to, first, last - first - lane / kAcross);
    }
  }

 private:
  // 16 bytes of row i + lane / kAcross of a tile of keys and of the values beside it, zeros where they are not there. tile_at's exclusive
  // or is taken apart: what changes with i is known to the compiler.
  __device__ __forceinline__ void copy(int to, int i, const T* from_k, const T* from_v, bool there) const {
    T* const target = shared + (to ^ (i & 7) * kChunk<T>)+i * P;
#pragma unroll
    for (int more = 0; more < P; more += kAcross * kChunk<T>) {
      copy_async<16>(target + more, from_k + more, there && column + more < a.p.dim ? 16 : 0);
      copy_async<16>(target + kTileKeys * P + more, from_v + more, there && column + more < a.v.dim ? 16 : 0);
    }
  }

  template <bool kWhole>
  __device__ __forceinline__ void load_rows(int to, int first, int left) const {
    const T *from_k = k + first * a.k.row_stride, *from_v = v + first * a.v.row_stride;
#pragma unroll
    for (int i = 0; i < kTileKeys; i += kDown) {
      copy(to, i, from_k, from_v, kWhole || i < left);
      from_k += kDown * a.k.row_stride;
      from_v += kDown * a.v.row_stride;
    }
  }

  // Places go from lane to lane in units of 16 bytes: the launcher has seen to it that 32 bits hold them.
  __device__ __forceinline__ void load_pages(int to) const {
    const uint32_t of_k = row < 0 ? kAbsent : place(a.k), of_v = place(a.v);
#pragma unroll
    for (int i = 0; i < kTileKeys; i += kDown) {
      const uint32_t from_k = __shfl_sync(0xffffffffu, of_k, i + lane / kAcross);
      const uint32_t from_v = __shfl_sync(0xffffffffu, of_v, i + lane / kAcross);
      copy(to, i, k + static_cast<uint64_t>(from_k) * kChunk<T>, v + static_cast<uint64_t>(from_v) * kChunk<T>, from_k != kAbsent);
    }
  }
  __device__ __forceinline__ uint32_t place(const AttentionTensor& of) const {
    constexpr uint64_t kUnit = kChunk<T>;
    return static_cast<uint32_t>(page) * static_cast<uint32_t>(static_cast<uint64_t>(of.batch_stride) / kUnit) +
           static_cast<uint32_t>(row) * static_cast<uint32_t>(static_cast<uint64_t>(of.row_stride) / kUnit);
  }

  // Any alignment and any dimension, element by element.
  __device__ __forceinline__ void load_elements(int to, const T* base, const AttentionTensor& of, int first, int last) const {
#pragma unroll 1
    for (int n = lane; n < kTileKeys * kChunks; n += kWarpSize) {
      const int i = n / kChunks, chunk = n % kChunks;
      bool there = first + i < last;
      const T* from = base + (first + i) * of.row_stride;
      if (a.cache.table) {
        const int32_t of_page = __shfl_sync(0xffffffffu, page, i), of_row = __shfl_sync(0xffffffffu, row, i);
        there = of_row >= 0;
        from = base + of_page * of.batch_stride + of_row * of.row_stride;
      }
      Vec<T, kChunk<T>> values;
#pragma unroll
      for (int c = 0; c < kChunk<T>; ++c) {
        const int column = chunk * kChunk<T> + c;
        values[c] = there && column < of.dim ? TILEWISE_GPU::load(from + column)[0] : T(0.0f);
      }
      store_shared<kChunk<T>>(shared + to + tile_at<T, P>(i, chunk), values);
    }
  }
};

// Products with a warp's tiles. Of 16-bit types they are attention_tile's with places that the warp keeps: a matrix's address is one
// exclusive or. The queries stay in registers, where there is room for them.
template <class T, int P>
struct Products {
  static constexpr bool kWide = sizeof(T) == 4, kStay = !kWide && P <= 128;
  static constexpr int kSteps = P / kDepth<T>, kTiles = kKeys<T, P> / 8;
  const T* shared;  // begins with the queries
  int queries_at, keys_at, values_at;
  Registers<4> queries[kStay ? kSteps : 1];

  // `stages`: the element of shared memory where the warp's begin.
  __device__ __forceinline__ Products(const T* shared, int stages) : shared(shared) {
    const int lane = threadIdx.x % kWarpSize;
    queries_at = pinned(tile_at<T, P>(lane % 16, lane / 16));
    keys_at = kWide ? stages : pinned(stages + tile_at<T, P>(lane / 16 * 8 + lane % 8, lane / 8 % 2));
    values_at = kKeys<T, P> * P + (kWide ? stages : pinned(stages + tile_at<T, P>(lane % 16, lane / 16)));
    if constexpr (kStay) {
#pragma unroll
      for (int step = 0; step < kSteps; ++step) queries[step] = query(step);
    }
  }

  // scores = queries times keys.
  __device__ __forceinline__ void scores_of(float (&scores)[1][kTiles][4], int stage, const AttentionProblem& p) const {
    const int at = keys_at + stage * kStage<T, P>;
    clear(scores);
    if constexpr (kWide) {
      multiply_rows<T, P>(scores, shared, 0, shared + at, p.dim, p.tf32);
    } else {
      float odd[1][kTiles][4];  // of every second step: a sum of its own, for half as long a chain of products
      clear(odd);
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        if (step % 2 == 0 && step * kDepth<T> >= p.dim) break;  // a group of columns is zeros beyond it
        Registers<4> rows;
        if constexpr (kStay)
          rows = queries[step];
        else
          rows = query(step);
#pragma unroll
        for (int n = 0; n < kTiles; n += 2) {
          const auto columns = load_matrix<4>(shared + (at ^ 2 * step * kChunk<T>)+8 * n * P);
          const uint32_t b[2][2] = {{columns.r[0], columns.r[1]}, {columns.r[2], columns.r[3]}};
          auto& to = step % 2 ? odd : scores;
          mma<T>(to[0][n], rows.r, b[0]);
          mma<T>(to[0][n + 1], rows.r, b[1]);
        }
      }
#pragma unroll
      for (int n = 0; n < kTiles; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) scores[0][n][i] += odd[0][n][i];
    }
  }

  // sums += weights times values, in the groups of columns before `columns`.
  __device__ __forceinline__ void add_values(float (&sums)[1][P / 8][4], const float (&weights)[1][kTiles][4], int stage, int columns,
                                             bool tf32_allowed) const {
    const int at = values_at + stage * kStage<T, P>;
    if constexpr (kWide) {
      multiply_columns<T, P>(sums, weights, shared + at, 0, columns, tf32_allowed);
    } else {
      uint32_t a[kTiles / 2][4];
#pragma unroll
      for (int n = 0; n < kTiles; ++n)
#pragma unroll
        for (int half = 0; half < 2; ++half) a[n / 2][n % 2 * 2 + half] = pack<T>(weights[0][n][2 * half], weights[0][n][2 * half + 1]);
#pragma unroll
      for (int n = 0; n < P / 8; n += 2) {
        if (n % (kGroup / 8) == 0 && 8 * n >= columns) break;
#pragma unroll
        for (int step = 0; step < kTiles / 2; ++step) {
          const auto rows = load_matrix<4, true>(shared + (at ^ n * kChunk<T>)+16 * step * P);
          const uint32_t b[2][2] = {{rows.r[0], rows.r[1]}, {rows.r[2], rows.r[3]}};
          mma<T>(sums[0][n], a[step], b[0]);
          mma<T>(sums[0][n + 1], a[step], b[1]);
        }
      }
    }
  }

 private:
  __device__ __forceinline__ Registers<4> query(int step) const { return load_matrix<4>(shared + (queries_at ^ 2 * step * kChunk<T>)); }
};

template <class T, int P>
__global__ void __launch_bounds__(32 * kMostWarps, 2) attention_decode(const __grid_constant__ Forward a, const bool vectors) {
  constexpr int kTileKeys = kKeys<T, P>, kTiles = kTileKeys / 8, kAhead = kStages<T, P> - 1;
  const AttentionProblem& p = a.p;
  const int warps = blockDim.x / kWarpSize, warp = threadIdx.x / kWarpSize;
  const int lane = threadIdx.x % kWarpSize, g = lane / 4, t = lane % 4;
  // Key heads of the same keys run side by side: their rows are neighbours in memory.
  const int kv_head = blockIdx.x % p.kv_heads, index = blockIdx.x / p.kv_heads;
  int b = index / a.parts, part = index % a.parts, item_tiles = 0;
  if (a.items > 0) {
    item_tiles = a.item_tiles();
    if (!a.find_item(index, item_tiles, b, part)) return;
    part = index - part;
  }
  const AttentionSequence s(p, a.cache, b);
  const int rows = s.queries * p.group;
  const Parts parts = a.items > 0 ? a.parts_of(s, item_tiles) : a.parts_of(s);
  if (rows == 0 || part >= parts.parts) return;
  const int key_begin = parts.first_key + part * parts.part_keys;
  const KeyTiles<kTileKeys> tiles(p, s, 0, s.queries, key_begin, min(s.keys, key_begin + parts.part_keys));

  // Keys that every query sees, without a bias.
  const bool biased = p.bias.data || p.keep.data;
  const int clear_begin = s.queries - 1 + s.shift - p.left, clear_end = biased ? 0 : min(tiles.end, s.shift + p.right + 1);

  T* const shared = dynamic_smem<T>();
  const int stages = kRows * P + warp * kStages<T, P> * kStage<T, P>;
  KeyStream<T, P> stream(a, tiles, shared, stages, s, kv_head, vectors);
  stream.find(warp);
  load_tile<T, P>(shared, kRows, a.q.of<T>(b, s.first_q, kv_head * p.group, p.group), 0, {0, rows, 0, 0}, p.dim);
  copy_async_commit();
#pragma unroll
  for (int stage = 0; stage < kAhead; ++stage) {
    stream.load(warp + stage * warps, stage);
    copy_async_commit();
    stream.find(warp + (stage + 1) * warps);
  }
  copy_async_wait<kAhead>();
  __syncthreads();  // the queries, which all threads have copied, have arrived
  const Products<T, P> products(shared, stages);

  float sums[1][P / 8][4];
  clear(sums);
  RowSums softmax;
  int stage = 0, next_stage = kAhead;
#pragma unroll 1
  for (int tile = warp; tile < tiles.count; tile += warps) {
    copy_async_wait<kAhead - 1>();
    __syncwarp();  // the warp's copies of this tile have arrived, and its lanes are done with the tile before
    stream.load(tile + kAhead * warps, next_stage);
    copy_async_commit();
    stream.find(tile + (kAhead + 1) * warps);

    float scores[1][kTiles][4];
    products.scores_of(scores, stage, p);
    scale(scores, p.scale_log2);  // before the maximum is taken, as in attention_forward
    const int key = tiles.first(tile);
    if (key < clear_begin || key + kTileKeys > clear_end)
      mask_scores(scores[0], p, s, p.group, kv_head * p.group, g, rows, key + 2 * t, tiles.last(tile));
    float decay[2] = {1.0f, 1.0f};
    softmax.template update<0>(scores[0], decay);
    if (rows > 8) {
      softmax.template update<1>(scores[0], decay);
    } else {
#pragma unroll
      for (int n = 0; n < kTiles; ++n) scores[0][n][2] = scores[0][n][3] = 0.0f;
    }
    if (__any_sync(0xffffffffu, decay[0] != 1.0f || decay[1] != 1.0f)) {  // after a while the largest score is rarely among the new ones
#pragma unroll
      for (int n = 0; n < P / 8; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) sums[0][n][i] *= decay[i / 2];
    }
    products.add_values(sums, scores, stage, a.v.dim, p.tf32);
    stage = stage + 1 == kStages<T, P> ? 0 : stage + 1;
    next_stage = next_stage + 1 == kStages<T, P> ? 0 : next_stage + 1;
  }
  softmax.finish();

  __syncwarp();  // all lanes have read the last tile
  float* const own = sums_of<T, P>(shared, warp);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = g + 8 * half;
    if (row >= rows) continue;
#pragma unroll
    for (int n = 0; n < P / 8; ++n) {
      if (8 * n >= a.columns) break;
      store_shared<2>(own + row * kSumPitch<P> + 8 * n + 2 * t, Vec<float, 2>{{sums[0][n][2 * half], sums[0][n][2 * half + 1]}});
    }
    if (t == 0) {
      store_shared<1>(own + kMosts<P> + row, Vec<float, 1>{{softmax.most[half]}});
      store_shared<1>(own + kTotals<P> + row, Vec<float, 1>{{softmax.total[half]}});
    }
  }
  __syncthreads();  // all warps' sums are there

  const HeadRows<T> output = a.output.of<T>(b, s.first_q, kv_head * p.group, p.group);
  for (int at = threadIdx.x; at < rows * (P / 4); at += blockDim.x) {
    const int row = at / (P / 4), column = at % (P / 4) * 4;
    float weights[kMostWarps], most = -INFINITY, total = 0.0f;
#pragma unroll
    for (int w = 0; w < kMostWarps; ++w) {
      weights[w] = w < warps ? load_shared(sums_of<T, P>(shared, w) + kMosts<P> + row)[0] : -INFINITY;
      most = fmaxf(most, weights[w]);
    }
    const float base = most == -INFINITY ? 0.0f : most;
#pragma unroll
    for (int w = 0; w < kMostWarps; ++w) {
      weights[w] = exp2_approx(weights[w] - base);
      if (w < warps) total += weights[w] * load_shared(sums_of<T, P>(shared, w) + kTotals<P> + row)[0];
    }
    const int64_t partial_row = a.items > 0 ? a.item_row(kv_head, row, index) : a.partial_row(b, kv_head, row, part);
    const int i = row / p.group;
    if (column == 0) {
      if (parts.parts > 1) {
        store_float(a.partial_most + partial_row, most);
        store_float(a.partial_total + partial_row, total);
      } else {
        store_float(a.log_sum_exp + s.query_row(p, i) * p.heads + kv_head * p.group + row - i * p.group, log_sum_exp_of(most, total));
      }
    }
    if (column >= a.columns) continue;
    float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
    for (int w = 0; w < kMostWarps; ++w) {
      if (w >= warps) break;
      const auto values = load_shared<4>(sums_of<T, P>(shared, w) + row * kSumPitch<P> + column);
#pragma unroll
      for (int c = 0; c < 4; ++c) sum[c] += weights[w] * values[c];
    }
    if (parts.parts > 1)
      store<4>(a.partial + partial_row * a.columns + column, Vec<float, 4>{{sum[0], sum[1], sum[2], sum[3]}});
    else
      store_columns(output, row, column, a.v.dim, sum, total == 0.0f ? 0.0f : 1.0f / total);
  }
}

// Whether 16 bytes of each row lie together, and places in pages can be given in such units by 32 bits.
template <class T>
bool whole_vectors(const AttentionTensor& x, const AttentionCache& cache) {
  if (!x.vectors || x.dim % kChunk<T> != 0) return false;
  if (!cache.table) return true;
  const double last = static_cast<double>(x.batch_stride) * cache.pages + static_cast<double>(x.row_stride) * cache.page_size;
  return x.batch_stride >= 0 && x.row_stride >= 0 && last / kChunk<T> < 4294967295.0;
}

// How many parts of `rounds` rounds of a block's warps each key head's keys are cut into, where `slots` blocks run at once. In units of a
// round beside as many others as there is room for, of 32 KB a block: a third of the slots already take all of the memory's bandwidth; a
// block's first keys take about a microsecond to come, a third of such a round, and the second kernel two.
int64_t parts_for(int64_t heads, int64_t rounds, int64_t slots) {
  constexpr double kStart = 0.6, kJoin = 1.2;
  int64_t best = 1;
  double least = INFINITY;
  for (int64_t waves = 0; waves <= 4; ++waves) {
    int64_t parts = max(int64_t{1}, waves * slots / heads), part_rounds = max(int64_t{kLeastRounds}, (rounds + parts - 1) / parts);
    parts = (rounds + part_rounds - 1) / part_rounds;
    const int64_t blocks = heads * parts, full = blocks / slots, rest = blocks % slots;
    const double last = rest == 0 ? 0.0 : max(static_cast<double>(rest) / static_cast<double>(slots), 1.0 / 3);
    const double cost = (static_cast<double>(full) + last) * static_cast<double>(part_rounds) +
                        kStart * static_cast<double>(full + (rest > 0)) + (parts > 1 ? kJoin : 0.0);
    if (cost < least) least = cost, best = parts;
  }
  return best;
}

// Sequences of lengths that only the device knows have parts of one size, so many that they would fill the GPU twice: some may be much
// longer than others. Each block reads all lengths, so they must not be too many.
constexpr int64_t kItemWaves = 2, kMostListed = 1024;

template <class T, int P>
Status run(Context& context, const attention_args& args) {
  const Gpu& gpu = gpu_of(context);
  static_assert(kWarpBytes<T, P> >= (kTotals<P> + kRows) * sizeof(float));
  constexpr size_t kReserved = 1024;  // of shared memory, by the system for each block
  constexpr int kResidentWarps = 8;   // as many as registers allow, whatever their number
  int warps = 1, resident = 1;
  for (int some = kMostWarps; some >= 1; some /= 2) {
    const size_t bytes = kQueryBytes<T, P> + some * kWarpBytes<T, P>;
    if (bytes > gpu.shared_per_block || (some > 1 && (some - 1) * kKeys<T, P> >= args.max_k)) continue;
    const int blocks = min(static_cast<int>((gpu.shared_per_block + kReserved) / (bytes + kReserved)), kResidentWarps / some);
    if (some * blocks > warps * resident) warps = some, resident = blocks;
  }
  Forward a(gpu, args, kKeys<T, P> * warps, kLeastRounds);
  const AttentionProblem& p = a.p;
  if (!p.fits()) return unsupported("attention of a sequence of " + std::to_string(p.max_k) + " tokens");
  const int64_t heads = int64_t{p.batch} * p.kv_heads;
  if (heads * p.max_q * p.group == 0) return Status::ok();
  const int64_t rounds = (p.max_k + a.tile_keys - 1) / a.tile_keys;
  const int64_t slots = int64_t{gpu.multiprocessors} * resident, items = kItemWaves * slots / p.kv_heads;
  const bool listed = p.batch > 1 && p.batch <= kMostListed && rounds * p.batch < AttentionProblem::kOpen;
  if ((a.cache.lengths || p.k_offsets) && listed && items > 0 && rounds > kLeastRounds)
    TILEWISE_RETURN_IF_ERROR(a.cut_evenly(context, items));
  else
    TILEWISE_RETURN_IF_ERROR(a.cut(context, parts_for(heads, rounds, slots)));
  const int64_t blocks = a.items > 0 ? int64_t{p.kv_heads} * a.items : heads * a.parts;
  if (blocks > 0x7fffffff) return unsupported("attention of " + std::to_string(heads) + " heads");
  const bool vectors = whole_vectors<T>(a.k, a.cache) && whole_vectors<T>(a.v, a.cache);
  const LaunchShape shape{"attention_decode", dim3(static_cast<unsigned>(blocks)), dim3(32 * warps),
                          kQueryBytes<T, P> + warps * kWarpBytes<T, P>};
  TILEWISE_RETURN_IF_ERROR(launch(gpu, shape, attention_decode<T, P>, a, vectors));
  return launch_combine<T>(gpu, a);
}

}  // namespace

Status attention_few_rows(Context& context, const attention_args& a) {
  return dispatch_head_dim("attention", a.q.last(), a.v.last(), [&](auto padded) {
    return dispatch_float(a.q.dtype, [&](auto type) { return run<decltype(type), decltype(padded)::value>(context, a); });
  });
}

}  // namespace tilewise::TILEWISE_GPU
