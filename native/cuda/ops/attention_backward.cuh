// Gradients of attention, without atomics and the same bits every time. Weights are recomputed from log_sum_exp, in one kernel whose blocks
// own queries (dq, and delta = rowsum(doutput * output) for the other) and one whose blocks own keys (dk, dv). That is seven products where
// one kernel with atomic sums has five; in exchange nothing waits for anything, and no sum of partial dq goes through memory. The gradient
// of a bias, asked for seldom, is a kernel of its own with two more: whatever dimensions the bias repeats over, a block owns what it
// writes.
#include "../prim/attention_weights.cuh"
#include "../prim/dispatch.h"

namespace tilewise::TILEWISE_GPU {
namespace {

using namespace attention_tile;

struct Backward {
  AttentionProblem p;
  AttentionTensor q, k, v, output, doutput, dq, dk, dv;
  AttentionDropout dropout;
  const float* log_sum_exp;
  float* delta;
  int row_tiles, key_tiles;

  Backward(const Gpu& gpu, const attention_backward_args& a)
      : p(gpu, a),
        q(a.q),
        k(a.k),
        v(a.v),
        output(a.output),
        doutput(a.doutput),
        dq(a.dq),
        dk(a.dk),
        dv(a.dv),
        dropout(a.dropout, a.seed, a.counter),
        log_sum_exp(a.log_sum_exp.as<const float>()),
        delta(nullptr),
        row_tiles(0),
        key_tiles(0) {}

  // Of a packed row in the tensors [rows, H] beside q.
  __device__ __forceinline__ int64_t statistic(const AttentionSequence& s, int kv_head, int row) const {
    const int i = row / p.group;
    return s.query_row(p, i) * p.heads + kv_head * p.group + row - i * p.group;
  }
  __device__ __forceinline__ uint64_t element(const AttentionSequence& s, int kv_head, int row) const {
    const int i = row / p.group;
    return AttentionDropout::row(p, s.b, kv_head * p.group + row - i * p.group, i);
  }
};

constexpr int kWarps = 4;

template <class T, int P>
__global__ void __launch_bounds__(32 * kWarps) attention_backward_queries(const __grid_constant__ Backward a) {
  constexpr int kKeys = kTileRows<T, P>, kTiles = kKeys / 8;
  const AttentionProblem& p = a.p;
  const int rows = 16 * (blockDim.x / kWarpSize);
  const int warp_row = 16 * (threadIdx.x / kWarpSize), lane = threadIdx.x % kWarpSize, g = lane / 4, t = lane % 4;
  unsigned index = blockIdx.x;
  const int tile_of_rows = a.row_tiles - 1 - static_cast<int>(index % a.row_tiles);
  index /= a.row_tiles;
  const int kv_head = index % p.kv_heads, b = index / p.kv_heads;

  const AttentionSequence s(p, b);
  const int first = tile_of_rows * rows, all_rows = s.queries * p.group;
  if (first >= all_rows) return;
  const int query_begin = first / p.group, query_end = (min(first + rows, all_rows) - 1) / p.group + 1;
  const KeyTiles<kKeys> tiles(p, s, query_begin, query_end, 0, s.keys);

  T* const query_tile = dynamic_smem<T>();
  T* const dout_tile = query_tile + rows * P;
  T* const stages = dout_tile + rows * P;
  const int head = kv_head * p.group, row = first + warp_row + g;
  const HeadRows<T> k = a.k.of<T>(b, s.first_k, kv_head, 1), v = a.v.of<T>(b, s.first_k, kv_head, 1);
  load_tile<T, P>(query_tile, rows, a.q.of<T>(b, s.first_q, head, p.group), first, {0, all_rows, 0, 0}, p.dim);
  load_tile<T, P>(dout_tile, rows, a.doutput.of<T>(b, s.first_q, head, p.group), first, {0, all_rows, 0, 0}, a.v.dim);
  load_tile<T, P>(stages, rows, a.output.of<T>(b, s.first_q, head, p.group), first, {0, all_rows, 0, 0}, a.v.dim);
  copy_async_commit();
  copy_async_wait<0>();
  __syncthreads();

  // delta by the product that makes the weights' gradients, of which it is the diagonal: where one key has all the weight, their difference
  // is exactly 0.
  const bool idle = first + warp_row >= all_rows;
  RowGradient of[2] = {{INFINITY, 0.0f}, {INFINITY, 0.0f}};
  if (!idle) {
    float d[1][2][4];
    clear(d);
    multiply_rows<T, P>(d, dout_tile, warp_row, stages + warp_row * P, a.v.dim, p.tf32);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float mine = g % 2 ? d[0][half][2 * half + 1] : d[0][half][2 * half];
      of[half].delta = __shfl_sync(0xffffffffu, mine, 4 * g + g / 2);
      if (row + 8 * half >= all_rows) continue;
      const int64_t at = a.statistic(s, kv_head, row + 8 * half);
      of[half].log2_sum = log2_sum_of(a.log_sum_exp + at);
      if (t == 0) store_float(a.delta + at, of[half].delta);
    }
  }
  __syncthreads();  // the outputs make room for keys and values
  if (tiles.count > 0) load_stage<P, kKeys>(stages, 0, k, v, tiles.first(0), {0, tiles.last(0), 0, 0}, p.dim, a.v.dim);
  copy_async_commit();

  float dquery[1][P / 8][4];
  clear(dquery);
  for (int tile = 0; tile < tiles.count; ++tile) {
    copy_async_wait<0>();
    __syncthreads();  // this tile has arrived, and the one before it is done with
    if (tile + 1 < tiles.count)
      load_stage<P, kKeys>(stages, tile + 1, k, v, tiles.first(tile + 1), {0, tiles.last(tile + 1), 0, 0}, p.dim, a.v.dim);
    copy_async_commit();
    if (idle) continue;
    const T* const keys = stage_of<P, kKeys>(stages, tile);
    const int key = tiles.first(tile) + 2 * t;
    float scores[1][kTiles][4], dscores[1][kTiles][4];
    clear(scores);
    multiply_rows<T, P>(scores, query_tile, warp_row, keys, p.dim, p.tf32);
    clear(dscores);
    multiply_rows<T, P>(dscores, dout_tile, warp_row, keys + kKeys * P, a.v.dim, p.tf32);
    scale(scores, p.scale_log2);
    if (tiles.is_masked(p, s, tile, query_begin, query_end))
      mask_scores(scores[0], p, s, p.group, head, row, all_rows, key, tiles.last(tile));
    if (a.dropout.probability > 0.0f) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const uint64_t element = a.element(s, kv_head, row + 8 * half) + key;
#pragma unroll
        for (int n = 0; n < kTiles; ++n) {
          float factors[2];
          a.dropout.pair(element + 8 * n, factors);
          dscores[0][n][2 * half] *= factors[0];
          dscores[0][n][2 * half + 1] *= factors[1];
        }
      }
    }
#pragma unroll
    for (int n = 0; n < kTiles; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) dscores[0][n][i] = of[i / 2].gradient(of[i / 2].weight(scores[0][n][i]), dscores[0][n][i]);
    multiply_columns<T, P>(dquery, dscores, keys, 0, p.dim, p.tf32);
  }
  if (idle) return;
  const float factor[2] = {p.scale, p.scale};
  store_rows<T, P>(dquery[0], factor, query_tile + warp_row * P, a.dq.of<T>(b, s.first_q, head, p.group), first + warp_row, all_rows, 0,
                   p.dim);
}

// Columns of dk and dv that a block sums in registers: of wide heads a half, for which it computes the weights anew.
template <int P>
constexpr int kColumns = P < 128 ? P : 128;
// Query rows that pass at a time: beside two such sums there is room for the scores of 32, not of 64.
template <class T, int P>
constexpr int kQueryRows = P == 64 || kTileRows<T, P> < 32 ? kTileRows<T, P> : 32;

template <class T, int P>
__global__ void __launch_bounds__(32 * kWarps) attention_backward_keys(const __grid_constant__ Backward a) {
  constexpr int kRows = kQueryRows<T, P>, kTiles = kRows / 8;
  const AttentionProblem& p = a.p;
  const int keys = 16 * (blockDim.x / kWarpSize);
  const int warp_row = 16 * (threadIdx.x / kWarpSize), lane = threadIdx.x % kWarpSize, g = lane / 4, t = lane % 4;
  unsigned index = blockIdx.x;
  const int column = index % (P / kColumns<P>)*kColumns<P>;
  index /= P / kColumns<P>;
  const int first = static_cast<int>(index % a.key_tiles) * keys;
  index /= a.key_tiles;
  const int kv_head = index % p.kv_heads, b = index / p.kv_heads, head = kv_head * p.group;

  const AttentionSequence s(p, b);
  if (first >= s.keys) return;
  // The queries that see a key of this tile, then their rows. An extra key is seen by all.
  const int last_key = min(first + keys, s.limit);
  const bool free = min(first + keys, s.keys) > s.masked_keys, seen = first < last_key;
  const int query_begin = free ? 0 : seen ? max(0, first - s.shift - p.right) : s.queries;
  const int query_end = free ? s.queries : min(s.queries, last_key - s.shift + p.left);
  const int row_begin = query_begin * p.group, row_end = query_end * p.group;
  const int tiles = (max(0, row_end - row_begin) + kRows - 1) / kRows;

  T* const key_tile = dynamic_smem<T>();
  T* const value_tile = key_tile + keys * P;
  T* const stages = value_tile + keys * P;
  float* const statistics = reinterpret_cast<float*>(stages + 4 * kRows * P);  // two stages of log-sum-exp, and of delta
  const HeadRows<T> q = a.q.of<T>(b, s.first_q, head, p.group), dout = a.doutput.of<T>(b, s.first_q, head, p.group);
  const RowRange visible = {0, s.keys, s.limit, s.masked_keys}, range = {row_begin, row_end, 0, 0};
  load_tile<T, P>(key_tile, keys, a.k.of<T>(b, s.first_k, kv_head, 1), first, visible, p.dim);
  load_tile<T, P>(value_tile, keys, a.v.of<T>(b, s.first_k, kv_head, 1), first, visible, a.v.dim);

  const bool idle = first + warp_row >= s.keys;
  float dkeys[1][kColumns<P> / 8][4], dvalues[1][kColumns<P> / 8][4];
  clear(dkeys);
  clear(dvalues);
  for (int tile = -1; tile < tiles; ++tile) {
    copy_async_wait<0>();
    __syncthreads();  // this tile has arrived, and the one before it is done with
    const int next = tile + 1;
    if (next < tiles) {
      const int from = row_begin + next * kRows;
      load_stage<P, kRows>(stages, next, q, dout, from, range, p.dim, a.v.dim);
      float* const to = statistics + next % 2 * (2 * kRows);
      for (int at = threadIdx.x; at < kRows; at += blockDim.x) {
        const bool present = from + at < row_end;
        const int64_t statistic = present ? a.statistic(s, kv_head, from + at) : 0;
        to[at] = present ? log2_sum_of(a.log_sum_exp + statistic) : INFINITY;
        to[kRows + at] = present ? load_float(a.delta + statistic) : 0.0f;
      }
    }
    copy_async_commit();
    if (tile < 0 || idle) continue;
    const T* const queries = stage_of<P, kRows>(stages, tile);
    const T* const douts = queries + kRows * P;
    const float* const log2_sums = statistics + tile % 2 * (2 * kRows);
    float weights[1][kTiles][4], dscores[1][kTiles][4];  // transposed: a row a key, a column a query row
    clear(weights);
    multiply_rows<T, P, true>(weights, key_tile, warp_row, queries, p.dim, p.tf32);
    clear(dscores);
    multiply_rows<T, P, true>(dscores, value_tile, warp_row, douts, a.v.dim, p.tf32);
    scale(weights, p.scale_log2);
    const int row = row_begin + tile * kRows + 2 * t, key = first + warp_row + g;
    const int tile_begin = (row - 2 * t) / p.group, tile_end = (min(row - 2 * t + kRows, row_end) - 1) / p.group + 1;
    if (p.bias.data || p.keep.data || first + keys > s.limit || first + keys - 1 > tile_begin + s.shift + p.right ||
        first < tile_end - 1 + s.shift - p.left) {
#pragma unroll
      for (int n = 0; n < kTiles; ++n)
#pragma unroll
        for (int c = 0; c < 2; ++c) {
          const int at = row + 8 * n + c, i = at / p.group;
          if (at >= row_end) continue;
          const MaskRow mask(p, s, i, head + at - i * p.group);
          weights[0][n][c] = mask.apply(p, s, key, weights[0][n][c]);
          weights[0][n][2 + c] = mask.apply(p, s, key + 8, weights[0][n][2 + c]);
        }
    }
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
      const Vec<float, 2> log2_sum = load_shared<2>(log2_sums + 8 * n + 2 * t), delta = load_shared<2>(log2_sums + kRows + 8 * n + 2 * t);
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        const RowGradient of = {log2_sum[c], delta[c]};
        const uint64_t element = a.dropout.probability > 0.0f ? a.element(s, kv_head, row + 8 * n + c) + key : 0;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          float& weight = weights[0][n][2 * half + c];
          float& dscore = dscores[0][n][2 * half + c];
          const float plain = of.weight(weight);
          const float factor = a.dropout.probability > 0.0f ? a.dropout.factor_of(element + 8 * half) : 1.0f;
          weight = plain * factor;
          dscore = of.gradient(plain, dscore * factor);
        }
      }
    }
    multiply_columns<T, P>(dvalues, weights, douts, column, a.v.dim - column, p.tf32);
    multiply_columns<T, P>(dkeys, dscores, queries, column, p.dim - column, p.tf32);
  }
  copy_async_wait<0>();  // where no query sees a key, the tiles are still on their way to where sums will lie
  __syncthreads();       // and other threads' copies too
  if (idle) return;
  const float scales[2] = {p.scale, p.scale}, ones[2] = {1.0f, 1.0f};
  store_rows<T, P>(dkeys[0], scales, key_tile + warp_row * P, a.dk.of<T>(b, s.first_k, kv_head, 1), first + warp_row, s.keys, column,
                   p.dim);
  store_rows<T, P>(dvalues[0], ones, value_tile + warp_row * P, a.dv.of<T>(b, s.first_k, kv_head, 1), first + warp_row, s.keys, column,
                   a.v.dim);
}

template <class T, int P>
Status run(Context& context, const attention_backward_args& args) {
  const Gpu& gpu = gpu_of(context);
  Backward a(gpu, args);
  const AttentionProblem& p = a.p;
  if (!p.fits()) return unsupported("attention_backward of a sequence of " + std::to_string(max(p.max_q, p.max_k)) + " tokens");
  const int64_t heads = int64_t{p.batch} * p.kv_heads, rows = int64_t{p.max_q} * p.group;
  constexpr size_t kRow = P * sizeof(T), kStages = 4 * kTileRows<T, P> * kRow,
                   kQueryStages = 4 * kQueryRows<T, P> * (kRow + sizeof(float));  // with log-sum-exp and delta
  const int row_warps = attention_warps(gpu, rows, kWarps, kStages, 32 * kRow);
  const int key_warps = attention_warps(gpu, p.max_k, kWarps, kQueryStages, 32 * kRow);
  a.row_tiles = static_cast<int>((rows + 16 * row_warps - 1) / (16 * row_warps));
  a.key_tiles = (p.max_k + 16 * key_warps - 1) / (16 * key_warps);
  const int64_t row_blocks = heads * a.row_tiles, key_blocks = heads * a.key_tiles * (P / kColumns<P>);
  if (row_blocks > 0x7fffffff || key_blocks > 0x7fffffff)
    return unsupported("attention_backward of " + std::to_string(heads * rows) + " rows");
  void* memory;
  TILEWISE_RETURN_IF_ERROR(context.scratch(static_cast<size_t>(args.log_sum_exp.count()) * sizeof(float), &memory));
  a.delta = static_cast<float*>(memory);
  TILEWISE_RETURN_IF_ERROR(launch(gpu,
                                  LaunchShape{"attention_backward_queries", dim3(static_cast<unsigned>(row_blocks)), dim3(32 * row_warps),
                                              kStages + 32 * kRow * row_warps},
                                  attention_backward_queries<T, P>, a));
  TILEWISE_RETURN_IF_ERROR(launch(gpu,
                                  LaunchShape{"attention_backward_keys", dim3(static_cast<unsigned>(key_blocks)), dim3(32 * key_warps),
                                              kQueryStages + 32 * kRow * key_warps},
                                  attention_backward_keys<T, P>, a));
  if (!args.dbias) return Status::ok();
  return write_matrix<T, P, true>(context, "attention_backward_bias",
                                  AttentionMatrix(gpu, args, args.v, args.doutput, a.dropout, a.delta, args.dbias));
}

}  // namespace

Status attention_backward(Context& context, const attention_backward_args& a) {
  return dispatch_head_dim("attention_backward", a.q.last(), a.v.last(), [&](auto padded) {
    return dispatch_float(a.q.dtype, [&](auto type) { return run<decltype(type), decltype(padded)::value>(context, a); });
  });
}

}  // namespace tilewise::TILEWISE_GPU
