// Attention by tiles with an online softmax (Dao 2023, FlashAttention-2): a warp keeps 16 query rows' sums in registers while tiles of keys
// and values pass through shared memory, one tile ahead of the products. Few rows per sequence, as in decoding, leave a GPU idle: then the
// keys are cut into parts for more blocks, whose sums a second kernel joins in order.
#include "../prim/attention_tile.cuh"
#include "../prim/dispatch.h"

namespace tilewise::TILEWISE_GPU {
namespace {

using namespace attention_tile;

struct Forward {
  AttentionProblem p;
  AttentionTensor q, k, v, output;
  AttentionDropout dropout;
  float* log_sum_exp;
  int row_tiles, parts, part_keys;  // parts > 1: sums go to `partial`, a key head's rows in order, `columns` values each
  int columns;
  float *partial, *partial_most, *partial_total;

  __device__ __forceinline__ int64_t partial_row(int b, int kv_head, int row, int part) const {
    return ((int64_t{b} * p.kv_heads + kv_head) * (int64_t{p.max_q} * p.group) + row) * parts + part;
  }
};

constexpr int kWarps = 4;

// One lane's part of the softmax over its rows g and g + 8: the largest score so far, in units of log2, and the lane's share of the sum.
struct RowSums {
  float most[2] = {-INFINITY, -INFINITY}, total[2] = {0.0f, 0.0f};

  // scores -> 2^(score - most); decay is what earlier sums shrink by. A row that has seen nothing keeps weights of 0.
  template <int kTiles>
  __device__ __forceinline__ void update(float (&scores)[kTiles][4], float (&decay)[2]) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float now = most[half];
#pragma unroll
      for (int n = 0; n < kTiles; ++n) now = fmaxf(now, fmaxf(scores[n][2 * half], scores[n][2 * half + 1]));
      now = fmaxf(now, __shfl_xor_sync(0xffffffffu, now, 1));
      now = fmaxf(now, __shfl_xor_sync(0xffffffffu, now, 2));
      const float base = now == -INFINITY ? 0.0f : now;
      decay[half] = exp2_approx(most[half] - base);
      most[half] = now;
      float sum = 0.0f;
#pragma unroll
      for (int n = 0; n < kTiles; ++n)
#pragma unroll
        for (int i = 2 * half; i < 2 * half + 2; ++i) sum += scores[n][i] = exp2_approx(scores[n][i] - base);
      total[half] = total[half] * decay[half] + sum;
    }
  }
  __device__ __forceinline__ void finish() {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      total[half] += __shfl_xor_sync(0xffffffffu, total[half], 1);
      total[half] += __shfl_xor_sync(0xffffffffu, total[half], 2);
    }
  }
};

__device__ __forceinline__ float log_sum_exp_of(float most, float total) { return total == 0.0f ? -INFINITY : most * kLn2 + logf(total); }

template <class T, int P>
__global__ void __launch_bounds__(32 * kWarps, P == 64 ? 3 : 1) attention_forward(const __grid_constant__ Forward a) {
  constexpr int kKeys = kTileRows<T, P>, kTiles = kKeys / 8;
  const AttentionProblem& p = a.p;
  const int warps = blockDim.x / kWarpSize, rows = 16 * warps;
  const int warp = threadIdx.x / kWarpSize, lane = threadIdx.x % kWarpSize, g = lane / 4, t = lane % 4;
  unsigned index = blockIdx.x;
  const int part = index % a.parts;
  index /= a.parts;
  const int tile_of_rows = a.row_tiles - 1 - static_cast<int>(index % a.row_tiles);  // with a causal mask the last rows take longest
  index /= a.row_tiles;
  const int kv_head = index % p.kv_heads, b = index / p.kv_heads;

  const AttentionSequence s(p, b);
  const int first = tile_of_rows * rows, all_rows = s.queries * p.group;
  if (first >= all_rows) return;
  const int query_begin = first / p.group, query_end = (min(first + rows, all_rows) - 1) / p.group + 1;
  const KeyTiles<kKeys> tiles(p, s, query_begin, query_end, part * a.part_keys, min(s.keys, (part + 1) * a.part_keys));

  T* const query_tile = dynamic_smem<T>();
  T* const stages = query_tile + rows * P;  // two of keys and values
  const HeadRows<T> q = a.q.of<T>(b, s.first_q, kv_head * p.group, p.group);
  const HeadRows<T> k = a.k.of<T>(b, s.first_k, kv_head, 1), v = a.v.of<T>(b, s.first_k, kv_head, 1);
  load_tile<T, P>(query_tile, rows, q, first, {0, all_rows, 0, 0}, p.dim);
  if (tiles.count > 0) load_stage<P, kKeys>(stages, 0, k, v, tiles.first(0), {0, tiles.last(0), 0, 0}, p.dim, a.v.dim);
  copy_async_commit();

  const int warp_row = 16 * warp;  // idle where the last tile of rows ends before it
  const bool idle = first + warp_row >= all_rows;
  float sums[P / 8][4];
  clear(sums);
  RowSums softmax;
  for (int tile = 0; tile < tiles.count; ++tile) {
    copy_async_wait<0>();
    __syncthreads();  // this tile has arrived, and the one before it is done with
    if (tile + 1 < tiles.count)
      load_stage<P, kKeys>(stages, tile + 1, k, v, tiles.first(tile + 1), {0, tiles.last(tile + 1), 0, 0}, p.dim, a.v.dim);
    copy_async_commit();
    if (idle) continue;
    const T* const keys = stage_of<P, kKeys>(stages, tile);
    float scores[kTiles][4];
    clear(scores);
    multiply_rows<T, P>(scores, query_tile, warp_row, keys, p.dim);
    // Scaled before the maximum is taken: the scale may be negative, and a difference of products would not be 0 at the maximum itself.
    scale(scores, p.scale_log2);
    const int key = tiles.first(tile);
    if (tiles.is_masked(p, s, tile, query_begin, query_end))
      mask_scores(scores, p, s, p.group, kv_head * p.group, first + warp_row + g, all_rows, key + 2 * t, tiles.last(tile));
    float decay[2];
    softmax.update(scores, decay);
#pragma unroll
    for (int n = 0; n < P / 8; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) sums[n][i] *= decay[i / 2];
    if (a.dropout.probability > 0.0f) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = first + warp_row + g + 8 * half, i = row / p.group;
        const uint64_t element = AttentionDropout::row(p, b, kv_head * p.group + row - i * p.group, i) + key + 2 * t;
#pragma unroll
        for (int n = 0; n < kTiles; ++n) {
          float factors[2];
          a.dropout.pair(element + 8 * n, factors);
          scores[n][2 * half] *= factors[0];
          scores[n][2 * half + 1] *= factors[1];
        }
      }
    }
    multiply_columns<T, P>(sums, scores, keys + kKeys * P, 0, a.v.dim);
  }
  copy_async_wait<0>();  // where there was no tile, the queries are still on their way to where sums will lie
  __syncthreads();       // and other threads' copies too
  if (idle) return;
  softmax.finish();

  if (a.parts > 1) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = first + warp_row + g + 8 * half;
      if (row >= all_rows) continue;
      const int64_t at = a.partial_row(b, kv_head, row, part);
      if (t == 0) {
        store_float(a.partial_most + at, softmax.most[half]);
        store_float(a.partial_total + at, softmax.total[half]);
      }
#pragma unroll
      for (int n = 0; n < P / 8; ++n) {
        if (8 * n >= a.columns) break;
        store<2>(a.partial + at * a.columns + 8 * n + 2 * t, Vec<float, 2>{{sums[n][2 * half], sums[n][2 * half + 1]}});
      }
    }
    return;
  }
  float factor[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    factor[half] = softmax.total[half] == 0.0f ? 0.0f : 1.0f / softmax.total[half];
    const int row = first + warp_row + g + 8 * half, i = row / p.group;
    if (t == 0 && row < all_rows)
      store_float(a.log_sum_exp + s.query_row(p, i) * p.heads + kv_head * p.group + row - i * p.group,
                  log_sum_exp_of(softmax.most[half], softmax.total[half]));
  }
  store_rows<T, P>(sums, factor, query_tile + warp_row * P, a.output.of<T>(b, s.first_q, kv_head * p.group, p.group), first + warp_row,
                   all_rows, 0, a.v.dim);
}

constexpr int kCombineWarps = 4;

// A warp a row: its parts in order.
template <class T>
__global__ void __launch_bounds__(32 * kCombineWarps) attention_combine(const __grid_constant__ Forward a) {
  const AttentionProblem& p = a.p;
  const int64_t index = int64_t{blockIdx.x} * kCombineWarps + threadIdx.x / kWarpSize;
  const int lane = threadIdx.x % kWarpSize, most_rows = p.max_q * p.group;
  const int row = static_cast<int>(index % most_rows), kv_head = static_cast<int>(index / most_rows % p.kv_heads);
  const int64_t b = index / most_rows / p.kv_heads;
  if (b >= p.batch) return;
  const AttentionSequence s(p, static_cast<int>(b));
  if (row >= s.queries * p.group) return;
  const int64_t at = a.partial_row(s.b, kv_head, row, 0);
  float most = -INFINITY;
  for (int part = 0; part < a.parts; ++part) most = fmaxf(most, load_float(a.partial_most + at + part));
  const float base = most == -INFINITY ? 0.0f : most;
  float total = 0.0f;
  for (int part = 0; part < a.parts; ++part)
    total += load_float(a.partial_total + at + part) * exp2_approx(load_float(a.partial_most + at + part) - base);
  const float factor = total == 0.0f ? 0.0f : 1.0f / total;
  T* const to = a.output.of<T>(s.b, s.first_q, kv_head * p.group, p.group).at(row);
  for (int column = lane; column < a.v.dim; column += kWarpSize) {
    float sum = 0.0f;
    for (int part = 0; part < a.parts; ++part)
      sum += load_float(a.partial + (at + part) * a.columns + column) * exp2_approx(load_float(a.partial_most + at + part) - base);
    store_float(to + column, sum * factor);
  }
  const int i = row / p.group;
  if (lane == 0)
    store_float(a.log_sum_exp + s.query_row(p, i) * p.heads + kv_head * p.group + row - i * p.group, log_sum_exp_of(most, total));
}

template <class T, int P>
Status run(Context& context, const attention_args& args) {
  const Gpu& gpu = gpu_of(context);
  Forward a = {AttentionProblem(args),
               AttentionTensor(args.q),
               AttentionTensor(args.k),
               AttentionTensor(args.v),
               AttentionTensor(args.output),
               AttentionDropout(args.dropout, args.seed, args.counter),
               args.log_sum_exp.as<float>(),
               1,
               1,
               args.max_k,
               (static_cast<int>(args.v.last()) + kGroup - 1) / kGroup * kGroup,
               nullptr,
               nullptr,
               nullptr};
  const AttentionProblem& p = a.p;
  if (!p.fits()) return unsupported("attention of a sequence of " + std::to_string(max(p.max_q, p.max_k)) + " tokens");
  const int64_t heads = int64_t{p.batch} * p.kv_heads, rows = int64_t{p.max_q} * p.group;
  if (heads * rows == 0) return Status::ok();
  constexpr size_t kRow = P * sizeof(T), kStages = 4 * kTileRows<T, P> * kRow;
  const int warps = attention_warps(gpu, rows, kWarps, kStages, 16 * kRow);
  a.row_tiles = static_cast<int>((rows + 16 * warps - 1) / (16 * warps));

  // One tile of rows and too few blocks: cut the keys, four tiles a part at least.
  constexpr int kPartKeys = 4 * kTileRows<T, P>;
  const int64_t wanted = 2 * int64_t{gpu.multiprocessors} / heads;
  if (a.row_tiles == 1 && wanted > 1 && p.max_k > kPartKeys) {
    const int64_t most = (p.max_k + kPartKeys - 1) / kPartKeys, parts = wanted < most ? wanted : most;
    const int64_t keys = (p.max_k + parts - 1) / parts;
    a.part_keys = static_cast<int>((keys + kTileRows<T, P> - 1) / kTileRows<T, P> * kTileRows<T, P>);
    a.parts = (p.max_k + a.part_keys - 1) / a.part_keys;
    const size_t partial_rows = static_cast<size_t>(heads * rows * a.parts);
    void* memory;
    TILEWISE_RETURN_IF_ERROR(context.scratch(partial_rows * (a.columns + 2) * sizeof(float), &memory));
    a.partial = static_cast<float*>(memory);
    a.partial_most = a.partial + partial_rows * a.columns;
    a.partial_total = a.partial_most + partial_rows;
  }
  const int64_t blocks = heads * a.row_tiles * a.parts;
  if (blocks > 0x7fffffff) return unsupported("attention of " + std::to_string(heads * rows) + " rows");
  const LaunchShape shape{"attention_forward", dim3(static_cast<unsigned>(blocks)), dim3(32 * warps), kStages + 16 * kRow * warps};
  TILEWISE_RETURN_IF_ERROR(launch(gpu, shape, attention_forward<T, P>, a));
  if (a.parts == 1) return Status::ok();
  const int64_t joins = (heads * rows + kCombineWarps - 1) / kCombineWarps;
  return launch(gpu, {"attention_combine", dim3(static_cast<unsigned>(joins)), dim3(32 * kCombineWarps)}, attention_combine<T>, a);
}

}  // namespace

Status attention(Context& context, const attention_args& a) {
  return dispatch_head_dim("attention", a.q.last(), a.v.last(), [&](auto padded) {
    return dispatch_float(a.q.dtype, [&](auto type) { return run<decltype(type), decltype(padded)::value>(context, a); });
  });
}

}  // namespace tilewise::TILEWISE_GPU
