// Attention by tiles with an online softmax (Dao 2023, FlashAttention-2): a warp keeps 16 or 32 query rows' sums in registers while tiles
// of keys and values pass through shared memory, one tile ahead of the products.
#include "../prim/attention_forward.cuh"

namespace tilewise::TILEWISE_GPU {
namespace {

using namespace attention_tile;

constexpr int kWarps = 4;
constexpr int kPartTiles = 4;

// Blocks of 16 rows that a warp can have. What it reads of keys and values serves all of them, but two need registers for twice the sums
// and scores.
template <class T, int P>
constexpr int kMostBlocks = sizeof(T) == 2 && P <= 128 ? 2 : 1;
// Keys of a tile. Beside 128 registers of sums there is room for the scores of 48, not of 64; and on sm_80 for two blocks of threads.
template <class T, int P, int kBlocks>
constexpr int kKeys = P == 128 && kBlocks == 2 ? 48 : kTileRows<T, P>;
// Blocks of threads a multiprocessor, for whose sake ptxas saves registers.
template <int P, int kBlocks>
constexpr int kResident = P == 64 && kBlocks == 1 ? 3 : kBlocks;

// Where a block of threads stands. It lies in shared memory: what only masks, dropout and the end of the kernel ask for would otherwise
// take the registers that two blocks of rows need.
template <class T, int kTileKeys>
struct alignas(16) Place {
  KeyTiles<kTileKeys> tiles;
  AttentionSequence s;
  int head, kv_head, part, parts, first, all_rows;
  HeadRows<T> k, v;  // of a paged cache: of its first page

  // Keys that some row of a warp sees, and those that all of them see, but for bias and keep; other than the extra keys.
  struct Sight {
    int any_begin, any_end, all_begin, all_end;
  } sight[kWarps];
};

// Loads tiles of keys and values; of a paged cache, finds the places of the tile after it.
template <class T, int P, int kTileKeys, bool kWhole, bool kPaged>
struct KeyLoader {
  const Forward& a;
  const Place<T, kTileKeys>& place;
  T* stages;
  PlaceStages<kTileKeys> places;
  int threads;

  __device__ __forceinline__ void find(int tile) const {
    const KeyTiles<kTileKeys>& tiles = place.tiles;
    if (tile < tiles.count) places.load(tile, a.cache, place.s.b, tiles.first(tile), tiles.last(tile));
  }
  __device__ __forceinline__ void load(int tile) const {
    if (tile >= place.tiles.count) return;
    const int first = place.tiles.first(tile), last = place.tiles.last(tile);
    T* const to = stage_of<P, kTileKeys>(stages, tile);
    if constexpr (kPaged) {
      load_rows(to, paged(place.k, a.k, tile, first), paged(place.v, a.v, tile, first), first, last);
      find(tile + 1);
    } else if (kWhole && a.whole_rows) {
      copy_rows(to, first, last);
    } else {
      load_rows(to, place.k, place.v, first, last);
    }
  }

 private:
  // Of rows that are P wide: as load_tile, with less arithmetic.
  __device__ __forceinline__ void copy_rows(T* to, int first, int last) const {
    constexpr int kPer = kChunk<T>, kLine = 8 * kPer;
    const int own = threadIdx.x / 8, chunk = threadIdx.x % 8, step = threads / 8, left = last - first - own;
    const int at = tile_at<T, P>(own, chunk), k_stride = static_cast<int>(a.k.row_stride), v_stride = static_cast<int>(a.v.row_stride);
    const T* const k = place.k.base + int64_t{first + own} * k_stride + chunk * kPer;
    const T* const v = place.v.base + int64_t{first + own} * v_stride + chunk * kPer;
#pragma unroll
    for (int start = 0; start < kTileKeys; start += step) {
      const int bytes = start < left ? 16 : 0;
      T* const row = to + at + start * P;
#pragma unroll
      for (int line = 0; line < P; line += kLine) copy_async<16>(row + line, k + int64_t{start} * k_stride + line, bytes);
#pragma unroll
      for (int line = 0; line < P; line += kLine) copy_async<16>(row + kTileKeys * P + line, v + int64_t{start} * v_stride + line, bytes);
    }
  }
  template <class Rows>
  __device__ __forceinline__ void load_rows(T* to, const Rows& keys, const Rows& values, int first, int last) const {
    const RowRange range = {0, last, 0, 0};
    load_tile<T, P, kWhole>(to, kTileKeys, keys, first, range, a.p.dim, threads);
    load_tile<T, P, kWhole>(to + kTileKeys * P, kTileKeys, values, first, range, a.v.dim, threads);
  }
  __device__ __forceinline__ PagedRows<T> paged(const HeadRows<T>& rows, const AttentionTensor& of, int tile, int first) const {
    return {rows.base, of.batch_stride, of.row_stride, rows.vectors, a.cache, places.pages(tile), places.rows(tile), first};
  }
};

// One lane's part of the softmax over its rows g and g + 8 of a block: weights are 2^(score - base), scores in units of log2, and total is
// the lane's share of their sum. The base need not be the largest score: it follows it when it has fallen behind by so much that weights
// might get too large for f16, and sums are not touched between.
struct RowSoftmax {
  static constexpr float kSlack = 8.0f;
  float base[2] = {-INFINITY, -INFINITY}, total[2] = {0.0f, 0.0f};

  // scores -> weights, of scores times factor > 0. decay is what earlier sums shrink by: returns whether it is anything but 1. A row that
  // has seen nothing keeps weights of 0.
  template <int kTiles>
  __device__ __forceinline__ bool update(float (&scores)[kTiles][4], float factor, float (&decay)[2]) {
    bool grown = false;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float largest = fmaxf(scores[0][2 * half], scores[0][2 * half + 1]);
#pragma unroll
      for (int n = 1; n < kTiles; ++n) largest = fmaxf(largest, fmaxf(scores[n][2 * half], scores[n][2 * half + 1]));
      largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 1));
      largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 2)) * factor;
      decay[half] = 1.0f;
      if (largest > base[half] + kSlack) {
        decay[half] = exp2_approx(base[half] - largest);
        base[half] = largest;
        grown = true;
      }
      const float zero = base[half] == -INFINITY ? 0.0f : -base[half];
      float sum = 0.0f;
#pragma unroll
      for (int n = 0; n < kTiles; ++n)
#pragma unroll
        for (int i = 2 * half; i < 2 * half + 2; ++i) sum += scores[n][i] = exp2_approx(fmaf(scores[n][i], factor, zero));
      total[half] = total[half] * decay[half] + sum;
    }
    return grown;
  }
  __device__ __forceinline__ void finish() {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      total[half] += __shfl_xor_sync(0xffffffffu, total[half], 1);
      total[half] += __shfl_xor_sync(0xffffffffu, total[half], 2);
    }
  }
};

// Which weights of a block of 16 rows are kept, of which the lane has `row` and row + 8: bits 2n and 2n + 1 for those of tile n, for row +
// 8 2 kTiles further on. The loop is not unrolled: one text of the random numbers, not one for each pair of weights.
template <int kTiles>
__device__ __forceinline__ uint32_t kept_weights(const AttentionDropout& dropout, const AttentionProblem& p, int b, int first_head, int row,
                                                 int key) {
  static_assert(4 * kTiles <= 32);
  uint32_t kept = 0;
#pragma unroll 1
  for (int half = 0; half < 2; ++half) {
    const int at = row + 8 * half, i = at / p.group;
    const uint64_t element = AttentionDropout::row(p, b, first_head + at - i * p.group, i) + key;
#pragma unroll 1
    for (int n = 0; n < kTiles; ++n) kept |= dropout.kept_pair(element + 8 * n) << (2 * (half * kTiles + n));
  }
  return kept;
}
// What is kept grows when sums are written.
template <int kTiles>
__device__ __forceinline__ void drop(float (&weights)[kTiles][4], uint32_t kept) {
#pragma unroll
  for (int n = 0; n < kTiles; ++n)
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if ((kept >> (2 * (i / 2 * kTiles + n) + i % 2) & 1) == 0) weights[n][i] = 0.0f;
}
template <class T, int kSteps>
__device__ __forceinline__ void drop(Fragment<T, 4, Operands::plain> (&weights)[kSteps], uint32_t kept) {
#pragma unroll
  for (int step = 0; step < kSteps; ++step)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const uint32_t pair = kept >> (2 * (i % 2 * (2 * kSteps) + 2 * step + i / 2));
      weights[step].high[i] &= ((pair & 1) | (pair << 15 & 0x10000)) * 0xffffu;
    }
}

template <int kBlocks, int kTiles>
__device__ __forceinline__ void rescale_sums(float (&sums)[kBlocks][kTiles][4], const float (&decay)[kBlocks][2]) {
#pragma unroll
  for (int m = 0; m < kBlocks; ++m)
#pragma unroll
    for (int n = 0; n < kTiles; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) sums[m][n][i] *= decay[m][i / 2];
}

template <class T, int P, int kBlocks, bool kPaged>
__global__ void __launch_bounds__(32 * kWarps, kResident<P, kBlocks>) attention_forward(const __grid_constant__ Forward a) {
  constexpr int kTileKeys = kKeys<T, P, kBlocks>, kTiles = kTileKeys / 8, kRows = 16 * kBlocks;
  // Launches with enough rows for two blocks a warp have enough for kWarps too, and multiply all P columns, of which those beyond the
  // heads' are zeros: no branch between products.
  constexpr bool kWhole = kBlocks > 1;
  const AttentionProblem& p = a.p;
  const int threads = kWhole ? 32 * kWarps : blockDim.x, rows = threads / kWarpSize * kRows;
  const int dim = kWhole ? P : p.dim, value_dim = kWhole ? P : a.v.dim;
  T* const query_tile = dynamic_smem<T>();
  T* const stages = query_tile + rows * P;  // two of keys and values
  Place<T, kTileKeys>& place = *reinterpret_cast<Place<T, kTileKeys>*>(stages + 4 * kTileKeys * P);
  const PlaceStages<kTileKeys> places{reinterpret_cast<int32_t*>(&place + 1)};  // where there is a block table
  const KeyLoader<T, P, kTileKeys, kWhole, kPaged> keys_of{a, place, stages, places, threads};
  {
    unsigned index = blockIdx.x;
    const int part = index % a.parts;
    index /= a.parts;
    const int tile_of_rows = a.row_tiles - 1 - static_cast<int>(index % a.row_tiles);  // with a causal mask the last rows take longest
    index /= a.row_tiles;
    const int kv_head = index % p.kv_heads, b = index / p.kv_heads, head = kv_head * p.group;
    const AttentionSequence s(p, a.cache, b);
    const int first = tile_of_rows * rows, all_rows = s.queries * p.group;
    const Parts parts = a.parts_of(s);
    if (first >= all_rows || part >= parts.parts) return;
    const int query_begin = first / p.group, query_end = (min(first + rows, all_rows) - 1) / p.group + 1;
    const int key_begin = parts.first_key + part * parts.part_keys, table_b = kPaged ? 0 : b;
    const KeyTiles<kTileKeys> tiles(p, s, query_begin, query_end, key_begin, min(s.keys, key_begin + parts.part_keys));
    if (threadIdx.x == 0) {
      place.tiles = tiles;
      place.s = s;
      place.head = head;
      place.kv_head = kv_head;
      place.part = part;
      place.parts = parts.parts;
      place.first = first;
      place.all_rows = all_rows;
      place.k = a.k.of<T>(table_b, s.first_k, kv_head, 1);
      place.v = a.v.of<T>(table_b, s.first_k, kv_head, 1);
    }
    if (threadIdx.x % kWarpSize == 0) {
      const int warp = threadIdx.x / kWarpSize, from = first + warp * kRows;
      const int begin = from / p.group + s.shift, end = (min(from + kRows, all_rows) - 1) / p.group + s.shift;
      place.sight[warp] = {begin - p.left, end + p.right + 1, end - p.left, p.bias.data || p.keep.data ? 0 : begin + p.right + 1};
    }
    __syncthreads();
    load_tile<T, P, kWhole>(query_tile, rows, a.q.of<T>(b, s.first_q, head, p.group), first, {0, all_rows, 0, 0}, p.dim, threads);
    if constexpr (kPaged) {
      keys_of.find(0);
      copy_async_commit();
      check_pages(a.cache, b, tiles.begin, tiles.end);
      copy_async_wait<0>();
      __syncthreads();  // the first tile's places have arrived
    }
  }
  keys_of.load(0);
  copy_async_commit();

  const int warp = threadIdx.x / kWarpSize, warp_row = warp * kRows;
  const bool idle = place.first + warp_row >= place.all_rows;  // where the last tile of rows ends before the warp's
  float sums[kBlocks][P / 8][4];
  clear(sums);
  RowSoftmax softmax[kBlocks];
  for (int tile = 0; tile < place.tiles.count; ++tile) {
    copy_async_wait<0>();
    __syncthreads();  // this tile has arrived, and the one before it is done with
    keys_of.load(tile + 1);
    copy_async_commit();
    const int key = place.tiles.first(tile), last = place.tiles.last(tile);
    const bool free = place.tiles.is_free(tile);
    const auto& sight = place.sight[warp];
    if (idle || (!free && (key >= sight.any_end || key + kTileKeys <= sight.any_begin))) continue;
    const T* const keys = stage_of<P, kTileKeys>(stages, tile);
    float scores[kBlocks][kTiles][4];
    clear(scores);
    multiply_rows<T, P>(scores, query_tile, warp_row, keys, dim, p.tf32);
    float factor = p.scale_log2;
    const bool masked = key + kTileKeys > last || (!free && (key < sight.all_begin || key + kTileKeys > sight.all_end));
    if (masked || !(factor > 0.0f)) {  // -inf, and a bias, are of scaled scores; and the largest score is that of the largest product
      scale(scores, factor);
      factor = 1.0f;
    }
    const int g = threadIdx.x % kWarpSize / 4, t = threadIdx.x % 4;
    if (masked) {
#pragma unroll
      for (int m = 0; m < kBlocks; ++m)
        mask_scores(scores[m], p, place.s, p.group, place.head, place.first + warp_row + 16 * m + g, place.all_rows, key + 2 * t, last);
    }
    float decay[kBlocks][2];
    bool grown = false;
#pragma unroll
    for (int m = 0; m < kBlocks; ++m) grown |= softmax[m].update(scores[m], factor, decay[m]);
    const bool rescale = __any_sync(0xffffffffu, grown), drops = a.dropout.probability > 0.0f;
    if constexpr (sizeof(T) == 2) {
      Fragment<T, 4, Operands::plain> weights[kBlocks][kTiles / 2];
      pack_rows<T>(weights, scores);
      if (rescale) rescale_sums(sums, decay);
      if (drops) {
#pragma unroll
        for (int m = 0; m < kBlocks; ++m)
          drop<T>(weights[m], kept_weights<kTiles>(a.dropout, p, place.s.b, place.head, place.first + warp_row + 16 * m + g, key + 2 * t));
      }
      multiply_columns<T, P>(sums, weights, keys + kTileKeys * P, 0, value_dim);
    } else {
      if (rescale) rescale_sums(sums, decay);
      if (drops) {
#pragma unroll
        for (int m = 0; m < kBlocks; ++m)
          drop(scores[m], kept_weights<kTiles>(a.dropout, p, place.s.b, place.head, place.first + warp_row + 16 * m + g, key + 2 * t));
      }
      multiply_columns<T, P>(sums, scores, keys + kTileKeys * P, 0, value_dim, p.tf32);
    }
  }
  copy_async_wait<0>();  // where there was no tile, the queries are still on their way to where sums will lie
  __syncthreads();       // and other threads' copies too
  if (idle) return;

  const int g = threadIdx.x % kWarpSize / 4, t = threadIdx.x % 4, warp_first = place.first + warp_row;
#pragma unroll
  for (int m = 0; m < kBlocks; ++m) {
    RowSoftmax& of = softmax[m];
    of.finish();
    float factor[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = warp_first + 16 * m + g + 8 * half, i = row / p.group;
      factor[half] = of.total[half] == 0.0f ? 0.0f : a.dropout.factor / of.total[half];
      if (row >= place.all_rows) continue;
      if (place.parts > 1) {
        const int64_t at = a.partial_row(place.s.b, place.kv_head, row, place.part);
        if (t == 0) {
          store_float(a.partial_most + at, of.base[half]);
          store_float(a.partial_total + at, of.total[half]);
        }
#pragma unroll
        for (int n = 0; n < P / 8; ++n) {
          if (8 * n >= a.columns) break;
          store<2>(a.partial + at * a.columns + 8 * n + 2 * t, Vec<float, 2>{{sums[m][n][2 * half], sums[m][n][2 * half + 1]}});
        }
      } else if (t == 0) {
        store_float(a.log_sum_exp + place.s.query_row(p, i) * p.heads + place.head + row - i * p.group,
                    log_sum_exp_of(of.base[half], of.total[half]));
      }
    }
    if (place.parts == 1)
      store_rows<T, P>(sums[m], factor, query_tile + (warp_row + 16 * m) * P,
                       a.output.of<T>(place.s.b, place.s.first_q, place.head, p.group), warp_first + 16 * m, place.all_rows, 0, a.v.dim);
  }
}

// Bytes of shared memory beside the rows of queries.
template <class T, int P, int kBlocks>
size_t fixed_bytes(const Forward& a) {
  constexpr int kTileKeys = kKeys<T, P, kBlocks>;
  return 4 * kTileKeys * P * sizeof(T) + sizeof(Place<T, kTileKeys>) + (a.cache.table ? PlaceStages<kTileKeys>::kBytes : 0);
}

template <class T, int P, int kBlocks>
Status launch_forward(const Gpu& gpu, const Forward& a, int64_t heads, int warps) {
  const int64_t blocks = heads * a.row_tiles * a.parts;
  if (blocks > 0x7fffffff) return unsupported("attention of " + std::to_string(heads * a.p.max_q * a.p.group) + " rows");
  const LaunchShape shape{"attention_forward", dim3(static_cast<unsigned>(blocks)), dim3(32 * warps),
                          fixed_bytes<T, P, kBlocks>(a) + 16 * kBlocks * warps * P * sizeof(T)};
  return launch(gpu, shape, a.cache.table ? attention_forward<T, P, kBlocks, true> : attention_forward<T, P, kBlocks, false>, a);
}

template <class T, int P>
Status run(Context& context, const attention_args& args) {
  const Gpu& gpu = gpu_of(context);
  Forward a(gpu, args, kKeys<T, P, 1>, kPartTiles);
  const AttentionProblem& p = a.p;
  if (!p.fits()) return unsupported("attention of a sequence of " + std::to_string(max(p.max_q, p.max_k)) + " tokens");
  const int64_t heads = int64_t{p.batch} * p.kv_heads, rows = int64_t{p.max_q} * p.group;
  if (heads * rows == 0) return Status::ok();
  constexpr size_t kRow = P * sizeof(T);
  if constexpr (kMostBlocks < T, P >> 1) {
    // Where that leaves a block of threads for each multiprocessor, and heads fill more than half of P.
    constexpr int kBlocks = kMostBlocks<T, P>, kRows = 16 * kBlocks * kWarps;
    const int64_t row_tiles = (rows + kRows - 1) / kRows;
    if (rows > kRows / 2 && heads * row_tiles >= gpu.multiprocessors && max(p.dim, a.v.dim) > P / 2 &&
        fixed_bytes<T, P, kBlocks>(a) + kRows * kRow <= gpu.shared_per_block) {
      a.row_tiles = static_cast<int>(row_tiles);
      a.whole_rows = a.k.vectors && a.v.vectors && p.dim == P && a.v.dim == P && a.k.row_stride == static_cast<int>(a.k.row_stride) &&
                     a.v.row_stride == static_cast<int>(a.v.row_stride);
      return launch_forward<T, P, kBlocks>(gpu, a, heads, kWarps);
    }
  }
  const int warps = attention_warps(gpu, rows, kWarps, fixed_bytes<T, P, 1>(a), 16 * kRow);
  a.row_tiles = static_cast<int>((rows + 16 * warps - 1) / (16 * warps));
  if (a.row_tiles == 1)  // perhaps too few blocks
    TILEWISE_RETURN_IF_ERROR(a.cut(context, 2 * int64_t{gpu.multiprocessors} / heads));
  TILEWISE_RETURN_IF_ERROR((launch_forward<T, P, 1>(gpu, a, heads, warps)));
  return launch_combine<T>(gpu, a);
}

}  // namespace

Status attention(Context& context, const attention_args& a) {
  const int64_t kv_heads = a.k.dims[a.k.rank - 2];
  if (a.dropout == 0.0f && a.max_q * a.q.dims[a.q.rank - 2] <= kFewRows * kv_heads) return attention_few_rows(context, a);
  return dispatch_head_dim("attention", a.q.last(), a.v.last(), [&](auto padded) {
    return dispatch_float(a.q.dtype, [&](auto type) { return run<decltype(type), decltype(padded)::value>(context, a); });
  });
}

}  // namespace tilewise::TILEWISE_GPU
