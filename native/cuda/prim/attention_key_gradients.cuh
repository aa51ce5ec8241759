// dk and dv, by blocks that own keys: tiles of queries and of their outputs' gradients pass through shared memory, one tile ahead of the
// products. Scores are transposed: a row a key, a column a packed query row.
//
// Heads of 64: a warp sums dk and dv of its keys. Wider ones: two such sums of 32 keys are more than a thread's registers. There two warps
// share keys: the first makes the weights and sums dv, the second makes their gradients and sums dk, and what passes between them, through
// shared memory, are the weights. Splitting the columns of both sums instead, as FlashAttention-2 does, sends weights and gradients both
// ways: at a head dimension of 128 that is 7.5 cycles of shared memory for four products, where this is 6 (and 10 is one of 16 keys a
// warp).
#pragma once
#include "../ptx/named_barrier.cuh"
#include "attention_gradients.cuh"

namespace tilewise::TILEWISE_GPU::attention_tile {

// The queries' log-sums and deltas for a tile of kRows rows: two stages behind those of the tiles.
template <int kRows>
__device__ __forceinline__ void load_statistics(float* statistics, int index, const AttentionGradients& a, const BlockPlace& place,
                                                int from, int end) {
  float* const to = statistics + index % 2 * (2 * kRows);
  for (int at = threadIdx.x; at < kRows; at += blockDim.x) {
    const int64_t statistic = from + at < end ? a.statistic(place.s, place.kv_head, from + at) : 0;
    const int valid = from + at < end ? sizeof(float) : 0;  // zeros elsewhere: weights of 1 for rows of zeros
    copy_async<4>(to + at, a.log2_sum + statistic, valid);
    copy_async<4>(to + kRows + at, a.delta + statistic, valid);
  }
}

// Bias and masks on transposed scores in units of log2: rows are keys `key` and key + 8 of each block of 16, columns the packed rows `row`,
// row + 1, row + 8, ….
template <int kBlocks, int kTiles>
__device__ __forceinline__ void mask_transposed(float (&scores)[kBlocks][kTiles][4], const AttentionProblem& p, const BlockPlace& place,
                                                int row, int row_end, int key) {
  if (p.bias.data || p.keep.data) {
#pragma unroll
    for (int n = 0; n < kTiles; ++n)
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        const int at = row + 8 * n + c, i = p.query_of(at);
        if (at >= row_end) continue;
        const MaskRow mask(p, place.s, i, place.kv_head * p.group + at - i * p.group);
#pragma unroll
        for (int m = 0; m < kBlocks; ++m)
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            float& score = scores[m][n][2 * half + c];
            score = mask.apply(p, place.s, key + 16 * m + 8 * half, score);
          }
      }
    return;
  }
#pragma unroll
  for (int m = 0; m < kBlocks; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int own = key + 16 * m + 8 * half;
      const Sight sight = rows_that_see(p, place.s, own, own + 1);
      const int begin = sight.some_begin - row, end = sight.some_end - row;
#pragma unroll
      for (int n = 0; n < kTiles; ++n)
#pragma unroll
        for (int c = 0; c < 2; ++c)
          if (8 * n + c < begin || 8 * n + c >= end) scores[m][n][2 * half + c] = -INFINITY;
    }
}

// Which of a lane's transposed weights dropout keeps: bit (2n + c) * 2 kBlocks + 2m + half. By a loop that is not unrolled, for one text of
// the random numbers.
template <int kBlocks, int kTiles>
__device__ __forceinline__ uint64_t kept_transposed(const AttentionGradients& a, const BlockPlace& place, int row, int key) {
  static_assert(4 * kBlocks * kTiles <= 64);
  uint64_t kept = 0;
#pragma unroll 1
  for (int column = 0; column < 2 * kTiles; ++column) {
    const uint64_t element = a.element(place.s, place.kv_head, row + column / 2 * 8 + column % 2) + key;
#pragma unroll 1
    for (int i = 0; i < 2 * kBlocks; ++i) kept |= uint64_t{a.dropout.keeps(element + 8 * i)} << (column * (2 * kBlocks) + i);
  }
  return kept;
}
// x times `yes` where kept, else times `no`.
template <int kBlocks, int kTiles>
__device__ __forceinline__ void choose_transposed(float (&x)[kBlocks][kTiles][4], uint64_t kept, float yes, float no) {
#pragma unroll
  for (int m = 0; m < kBlocks; ++m)
#pragma unroll
    for (int n = 0; n < kTiles; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) x[m][n][i] *= kept >> ((2 * n + i % 2) * (2 * kBlocks) + 2 * m + i / 2) & 1 ? yes : no;
}

template <class T, int P>
__global__ void __launch_bounds__(32 * kMostGradientWarps) attention_backward_keys(const __grid_constant__ AttentionGradients a) {
  constexpr int kBlocks = kSumBlocks<T, P>, kWarpKeys = 16 * kBlocks, kStageRows = kTileRows<T, P>, kRows = kScoreColumns<T, P>,
                kTiles = kRows / 8;
  SHARED_ARRAY(BlockPlace, place, 1);
  const AttentionProblem& p = a.p;
  const int keys = kWarpKeys * (blockDim.x / kWarpSize);
  const int warp_row = kWarpKeys * (threadIdx.x / kWarpSize), lane = threadIdx.x % kWarpSize, g = lane / 4, t = lane % 4;
  unsigned index = blockIdx.x;
  const int first = static_cast<int>(index % a.key_tiles) * keys;
  index /= a.key_tiles;
  const int kv_head = index % p.kv_heads, b = index / p.kv_heads;

  const AttentionSequence s(p, b);
  if (first >= s.keys) return;
  if (threadIdx.x == 0) {
    const Sight block = rows_that_see(p, s, first, first + keys);
    place->s = s;
    place->kv_head = kv_head;
    place->first = first;
    place->row_begin = block.some_begin;
    place->row_end = block.some_end;
  }

  T* const stages = dynamic_smem<T>();
  float* const statistics = reinterpret_cast<float*>(stages + 4 * kStageRows * P);
  T* const key_tile = reinterpret_cast<T*>(statistics + 4 * kStageRows);
  T* const value_tile = key_tile + keys * P;
  const RowRange visible = {0, s.keys, s.limit, s.masked_keys};
  load_tile<T, P>(key_tile, keys, a.k.of<T>(b, s.first_k, kv_head, 1), first, visible, p.dim);
  load_tile<T, P>(value_tile, keys, a.v.of<T>(b, s.first_k, kv_head, 1), first, visible, a.v.dim);

  const int warp_key = first + warp_row, key = warp_key + g;
  const bool idle = warp_key >= s.keys;
  if (lane == 0) place->sights[threadIdx.x / kWarpSize] = rows_that_see(p, s, warp_key, warp_key + kWarpKeys);
  float dkeys[kBlocks][P / 8][4], dvalues[kBlocks][P / 8][4];
  clear(dkeys);
  clear(dvalues);
#pragma unroll 1
  for (int tile = -1;; ++tile) {
    copy_async_wait<0>();
    __syncthreads();  // this tile has arrived, and the one before it is done with
    const int from = place->row_begin + (tile + 1) * kStageRows;
    if (from - kStageRows >= place->row_end) break;
    if (from < place->row_end) {
      load_stage<P, kStageRows>(stages, tile + 1, place->queries<T>(a, a.q), place->queries<T>(a, a.doutput), from,
                                {place->row_begin, place->row_end, 0, 0}, p.dim, a.v.dim);
      load_statistics<kStageRows>(statistics, tile + 1, a, *place, from, place->row_end);
    }
    copy_async_commit();
    if (tile < 0 || idle) continue;
#pragma unroll 1
    for (int part = 0; part < kStageRows; part += kRows) {
      const int row = from - kStageRows + part, row_next = min(row + kRows, place->row_end);
      if (row >= row_next) break;
      const Sight& sight = place->sights[threadIdx.x / kWarpSize];
      if (sight.none(row, row_next)) continue;
      const T* const queries = stage_of<P, kStageRows>(stages, tile) + part * P;
      const T* const douts = queries + kStageRows * P;
      const float* const log2_sums = statistics + tile % 2 * (2 * kStageRows) + part;
      float weights[kBlocks][kTiles][4], dscores[kBlocks][kTiles][4];
      clear(weights);
      clear(dscores);
      multiply_rows<T, P, true>(weights, key_tile, warp_row, queries, p.dim, p.tf32);
      multiply_rows<T, P, true>(dscores, value_tile, warp_row, douts, a.v.dim, p.tf32);
      float scale_log2 = p.scale_log2;
      if (!sight.all(row, row_next)) {
        scale(weights, scale_log2);
        scale_log2 = 1.0f;
        mask_transposed(weights, p, *place, row + 2 * t, place->row_end, key);
      }
      uint64_t kept = 0;
      if (a.dropout.probability > 0.0f) {
        kept = kept_transposed<kBlocks, kTiles>(a, *place, row + 2 * t, key);
        choose_transposed(dscores, kept, a.dropout.factor, 0.0f);
      }
#pragma unroll
      for (int n = 0; n < kTiles; ++n) {
        const int at = 8 * n + 2 * t;
        const Vec<float, 2> log2_sum = load_shared<2>(log2_sums + at), delta = load_shared<2>(log2_sums + kStageRows + at);
#pragma unroll
        for (int m = 0; m < kBlocks; ++m)
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            const RowGradient of = {log2_sum[i % 2], delta[i % 2]};
            weights[m][n][i] = of.weight(weights[m][n][i] * scale_log2);
            dscores[m][n][i] = of.gradient(weights[m][n][i], dscores[m][n][i]);
          }
      }
      if (a.dropout.probability > 0.0f) choose_transposed(weights, kept, a.dropout.factor, 0.0f);
      multiply_columns<T, P>(dvalues, weights, douts, 0, a.v.dim, p.tf32);
      multiply_columns<T, P>(dkeys, dscores, queries, 0, p.dim, p.tf32);
    }
  }
  if (idle) return;
  const float scales[2] = {p.scale, p.scale}, ones[2] = {1.0f, 1.0f};
#pragma unroll
  for (int m = 0; m < kBlocks; ++m) {
    const int at = warp_row + 16 * m;
    store_rows<T, P>(dkeys[m], scales, key_tile + at * P, place->keys<T>(a.dk), first + at, place->s.keys, 0, p.dim);
    store_rows<T, P>(dvalues[m], ones, value_tile + at * P, place->keys<T>(a.dv), first + at, place->s.keys, 0, a.v.dim);
  }
}

// Columns of their keys, or values, that two warps hold.
template <class T, int P>
constexpr int kHeldKeys = sizeof(T) == 2 ? P / 2 : 0;

template <class T, int P>
__global__ void __launch_bounds__(32 * kMostGradientWarps) attention_backward_key_pairs(const __grid_constant__ AttentionGradients a) {
  constexpr int kBlocks = kSumBlocks<T, P>, kPairKeys = 16 * kBlocks, kRows = kScoreColumns<T, P>, kTiles = kRows / 8;
  SHARED_ARRAY(BlockPlace, place, 1);
  const AttentionProblem& p = a.p;
  const int pairs = blockDim.x / (2 * kWarpSize), keys = kPairKeys * pairs;
  const int warp = threadIdx.x / kWarpSize, lane = threadIdx.x % kWarpSize, g = lane / 4, t = lane % 4;
  const int pair = warp / 2, pair_row = kPairKeys * pair, barrier = 1 + pair;
  const bool sums_values = warp % 2 == 0;
  unsigned index = blockIdx.x;
  const int first = static_cast<int>(index % a.key_tiles) * keys;
  index /= a.key_tiles;
  const int kv_head = index % p.kv_heads, b = index / p.kv_heads;

  const AttentionSequence s(p, b);
  if (first >= s.keys) return;
  if (threadIdx.x == 0) {
    const Sight block = rows_that_see(p, s, first, first + keys);
    place->s = s;
    place->kv_head = kv_head;
    place->first = first;
    place->row_begin = block.some_begin;
    place->row_end = block.some_end;
  }

  T* const stages = dynamic_smem<T>();
  float* const statistics = reinterpret_cast<float*>(stages + 4 * kRows * P);
  T* const key_tile = reinterpret_cast<T*>(statistics + 4 * kRows);
  T* const value_tile = key_tile + keys * P;
  float* const passed =
      reinterpret_cast<float*>(value_tile + keys * P) + pair * (kPairKeys * kRows) + 4 * lane;  // weights, negative where dropped
  const RowRange visible = {0, s.keys, s.limit, s.masked_keys};
  load_tile<T, P>(key_tile, keys, a.k.of<T>(b, s.first_k, kv_head, 1), first, visible, p.dim);
  load_tile<T, P>(value_tile, keys, a.v.of<T>(b, s.first_k, kv_head, 1), first, visible, a.v.dim);

  const int pair_key = first + pair_row, key = pair_key + g;
  const bool idle = pair_key >= s.keys;
  if (lane == 0) place->sights[warp] = rows_that_see(p, s, pair_key, pair_key + kPairKeys);
  const int dim = sums_values ? p.dim : a.v.dim, sum_dim = sums_values ? a.v.dim : p.dim;
  HeldRows<T, P, kBlocks, kHeldKeys<T, P>> own(sums_values ? key_tile : value_tile, pair_row);
  float sums[kBlocks][P / 8][4];
  clear(sums);
#pragma unroll 1
  for (int tile = -1;; ++tile) {
    copy_async_wait<0>();
    __syncthreads();  // this tile has arrived, and the one before it is done with
    const int from = place->row_begin + (tile + 1) * kRows;
    if (from - kRows >= place->row_end) break;
    if (from < place->row_end) {
      load_stage<P, kRows>(stages, tile + 1, place->queries<T>(a, a.q), place->queries<T>(a, a.doutput), from,
                           {place->row_begin, place->row_end, 0, 0}, p.dim, a.v.dim);
      load_statistics<kRows>(statistics, tile + 1, a, *place, from, place->row_end);
    }
    copy_async_commit();
    if (tile < 0 || idle) continue;
    if (tile == 0) own.load(dim);
    const int row = from - kRows, row_next = min(row + kRows, place->row_end);
    const Sight& sight = place->sights[warp];
    if (sight.none(row, row_next)) continue;
    const T* const queries = stage_of<P, kRows>(stages, tile);
    const T* const douts = queries + kRows * P;
    const float* const log2_sums = statistics + tile % 2 * (2 * kRows);
    const float* const deltas = log2_sums + kRows;
    float scores[kBlocks][kTiles][4];  // or what the weights' gradients are
    clear(scores);
    own.template multiply<true>(scores, sums_values ? queries : douts, dim, p.tf32);
    if (sums_values) {
      float scale_log2 = p.scale_log2;
      if (!sight.all(row, row_next)) {
        scale(scores, scale_log2);
        scale_log2 = 1.0f;
        mask_transposed(scores, p, *place, row + 2 * t, place->row_end, key);
      }
#pragma unroll
      for (int n = 0; n < kTiles; ++n) {
        const Vec<float, 2> log2_sum = load_shared<2>(log2_sums + 8 * n + 2 * t);
#pragma unroll
        for (int m = 0; m < kBlocks; ++m)
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            const RowGradient of = {log2_sum[i % 2], 0.0f};
            scores[m][n][i] = of.weight(scores[m][n][i] * scale_log2);
          }
      }
      if (a.dropout.probability > 0.0f)
        choose_transposed(scores, kept_transposed<kBlocks, kTiles>(a, *place, row + 2 * t, key), 1.0f, -1.0f);
#pragma unroll
      for (int n = 0; n < kTiles; ++n)
#pragma unroll
        for (int m = 0; m < kBlocks; ++m) {
          Vec<float, 4> out;
#pragma unroll
          for (int i = 0; i < 4; ++i) out[i] = scores[m][n][i];
          store_shared<4>(passed + (m * kTiles + n) * (4 * kWarpSize), out);
        }
      named_barrier_arrive(barrier, 2 * kWarpSize);
      if (a.dropout.probability > 0.0f) {
#pragma unroll
        for (int m = 0; m < kBlocks; ++m)
#pragma unroll
          for (int n = 0; n < kTiles; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i) scores[m][n][i] *= a.dropout.of_signed(scores[m][n][i]);
      }
    } else {
      named_barrier_sync(barrier, 2 * kWarpSize);  // the weights have been written
      if (a.dropout.probability > 0.0f) {
#pragma unroll
        for (int m = 0; m < kBlocks; ++m)
#pragma unroll
          for (int n = 0; n < kTiles; ++n) {
            const Vec<float, 4> weight = load_shared<4>(passed + (m * kTiles + n) * (4 * kWarpSize));
#pragma unroll
            for (int i = 0; i < 4; ++i) scores[m][n][i] *= a.dropout.of_signed(weight[i]);
          }
      }
#pragma unroll
      for (int n = 0; n < kTiles; ++n) {
        const Vec<float, 2> delta = load_shared<2>(deltas + 8 * n + 2 * t);
#pragma unroll
        for (int m = 0; m < kBlocks; ++m) {
          const Vec<float, 4> weight = load_shared<4>(passed + (m * kTiles + n) * (4 * kWarpSize));
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            const RowGradient of = {0.0f, delta[i % 2]};
            scores[m][n][i] = of.gradient(fabsf(weight[i]), scores[m][n][i]);
          }
        }
      }
    }
    multiply_columns<T, P>(sums, scores, sums_values ? douts : queries, 0, sum_dim, p.tf32);
  }
  if (idle) return;
  const float factor = sums_values ? 1.0f : p.scale, factors[2] = {factor, factor};
  const HeadRows<T> to = sums_values ? place->keys<T>(a.dv) : place->keys<T>(a.dk);
#pragma unroll
  for (int m = 0; m < kBlocks; ++m) {
    const int at = pair_row + 16 * m;
    store_rows<T, P>(sums[m], factors, (sums_values ? value_tile : key_tile) + at * P, to, first + at, place->s.keys, 0, sum_dim);
  }
}

}  // namespace tilewise::TILEWISE_GPU::attention_tile
