// dq, by blocks that own queries: tiles of keys and values pass through shared memory, one tile ahead of the products.
#pragma once
#include "attention_gradients.cuh"

namespace tilewise::TILEWISE_GPU::attention_tile {

// Which of a lane's weights dropout keeps, of packed rows `row`, row + 8, … and keys `key`, key + 1, key + 8, …: two bits for each pair. By
// a loop that is not unrolled, for one text of the random numbers.
template <int kBlocks, int kTiles>
__device__ __forceinline__ uint32_t kept_weights(const AttentionGradients& a, const BlockPlace& place, int row, int key) {
  static_assert(4 * kBlocks * kTiles <= 32);
  uint32_t kept = 0;
#pragma unroll 1
  for (int half = 0; half < 2 * kBlocks; ++half) {
    const uint64_t element = a.element(place.s, place.kv_head, row + 8 * half) + key;
#pragma unroll 1
    for (int n = 0; n < kTiles; ++n) kept |= a.dropout.kept_pair(element + 8 * n) << 2 * (half * kTiles + n);
  }
  return kept;
}
template <int kBlocks, int kTiles>
__device__ __forceinline__ void drop(float (&x)[kBlocks][kTiles][4], uint32_t kept, float factor) {
#pragma unroll
  for (int m = 0; m < kBlocks; ++m)
#pragma unroll
    for (int n = 0; n < kTiles; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) x[m][n][i] *= kept >> (2 * ((2 * m + i / 2) * kTiles + n) + i % 2) & 1 ? factor : 0.0f;
}

// Keys that pass at a time: of heads of 128, few enough that beside 128 rows a multiprocessor has room for two blocks.
template <class T, int P>
constexpr int kKeyRows = sizeof(T) == 2 && P == 128 ? 32 : kTileRows<T, P>;

template <class T, int P>
__global__ void __launch_bounds__(32 * kMostGradientWarps) attention_backward_queries(const __grid_constant__ AttentionGradients a) {
  constexpr int kBlocks = kSumBlocks<T, P>, kWarpRows = 16 * kBlocks, kStageKeys = kKeyRows<T, P>, kKeys = kScoreColumns<T, P>,
                kTiles = kKeys / 8;
  SHARED_ARRAY(BlockPlace, place, 1);
  SHARED_ARRAY(KeyTiles<kStageKeys>, key_tiles, 1);
  const AttentionProblem& p = a.p;
  const int rows = kWarpRows * (blockDim.x / kWarpSize);
  const int warp_row = kWarpRows * (threadIdx.x / kWarpSize), lane = threadIdx.x % kWarpSize, g = lane / 4, t = lane % 4;
  unsigned index = blockIdx.x;
  const int tile_of_rows = a.row_tiles - 1 - static_cast<int>(index % a.row_tiles);  // with a causal mask the last rows take longest
  index /= a.row_tiles;
  const int kv_head = index % p.kv_heads, b = index / p.kv_heads;

  const AttentionSequence s(p, b);
  const int first = tile_of_rows * rows, all_rows = s.queries * p.group;
  if (first >= all_rows) return;
  const KeyTiles<kStageKeys> all_tiles(p, s, p.query_of(first), p.query_of(min(first + rows, all_rows) - 1) + 1, 0, s.keys);
  if (threadIdx.x == 0) {
    place->s = s;
    place->kv_head = kv_head;
    place->first = first;
    *key_tiles = all_tiles;
  }
  if (lane == 0)
    place->sights[threadIdx.x / kWarpSize] = keys_seen_by(p, s, p.query_of(min(first + warp_row, all_rows - 1)),
                                                          p.query_of(min(first + warp_row + kWarpRows, all_rows) - 1) + 1);

  T* const stages = dynamic_smem<T>();
  T* const query_tile = stages + 4 * kStageKeys * P;
  T* const dout_tile = query_tile + rows * P;
  RowGradient* const row_gradients = reinterpret_cast<RowGradient*>(dout_tile + rows * P);
  const int head = kv_head * p.group, row = first + warp_row + g;
  load_tile<T, P>(query_tile, rows, a.output.of<T>(b, s.first_q, head, p.group), first, {0, all_rows, 0, 0}, a.v.dim);
  load_tile<T, P>(dout_tile, rows, a.doutput.of<T>(b, s.first_q, head, p.group), first, {0, all_rows, 0, 0}, a.v.dim);
  copy_async_commit();
  if (all_tiles.count > 0)
    load_stage<P, kStageKeys>(stages, 0, a.k.of<T>(b, s.first_k, kv_head, 1), a.v.of<T>(b, s.first_k, kv_head, 1), all_tiles.first(0),
                              {0, all_tiles.last(0), 0, 0}, p.dim, a.v.dim);
  copy_async_commit();
  copy_async_wait<1>();
  __syncthreads();  // outputs and their gradients have arrived

  // delta by the product that makes the weights' gradients, of which it is the diagonal: where one key has all the weight, their difference
  // is exactly 0.
  const bool idle = first + warp_row >= all_rows;
#pragma unroll 1
  for (int m = 0; m < kBlocks; ++m) {
    const int at_row = warp_row + 16 * m;
    float d[1][2][4];
    clear(d);
    if (!idle) multiply_rows<T, P>(d, dout_tile, at_row, query_tile + at_row * P, a.v.dim, p.tf32);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float mine = g % 2 ? d[0][half][2 * half + 1] : d[0][half][2 * half];
      RowGradient of = {INFINITY, __shfl_sync(0xffffffffu, mine, 4 * g + g / 2)};
      const int at = first + at_row + g + 8 * half;
      if (t != 0) continue;
      if (at < all_rows) {
        const int64_t statistic = a.statistic(s, kv_head, at);
        of.log2_sum = log2_sum_of(a.log_sum_exp + statistic);
        store_float(a.log2_sum + statistic, of.log2_sum);
        store_float(a.delta + statistic, of.delta);
      }
      store_shared<2>(&row_gradients[at_row + g + 8 * half].log2_sum, Vec<float, 2>{{of.log2_sum, of.delta}});
    }
  }
  __syncthreads();  // the outputs make room for the queries
  load_tile<T, P>(query_tile, rows, a.q.of<T>(b, s.first_q, head, p.group), first, {0, all_rows, 0, 0}, p.dim);
  copy_async_commit();
  constexpr int kHeld = sizeof(T) == 2 && P == 64 ? P : 0;
  HeldRows<T, P, kBlocks, kHeld> queries(query_tile, warp_row), douts(dout_tile, warp_row);
  if constexpr (kHeld > 0) {
    copy_async_wait<0>();
    __syncthreads();  // the queries have arrived
    queries.load(p.dim);
    douts.load(a.v.dim);
  }

  float dquery[kBlocks][P / 8][4];
  clear(dquery);
#pragma unroll 1
  for (int tile = 0;; ++tile) {
    copy_async_wait<0>();
    __syncthreads();  // this tile has arrived, and the one before it is done with
    const KeyTiles<kStageKeys>& tiles = *key_tiles;
    if (tile >= tiles.count) break;
    if (tile + 1 < tiles.count)
      load_stage<P, kStageKeys>(stages, tile + 1, place->keys<T>(a.k), place->keys<T>(a.v), tiles.first(tile + 1),
                                {0, tiles.last(tile + 1), 0, 0}, p.dim, a.v.dim);
    copy_async_commit();
    if (idle) continue;
    const bool free = tiles.is_free(tile);
    const int key_end = tiles.last(tile);
#pragma unroll 1
    for (int part = 0; part < kStageKeys; part += kKeys) {
      const int key = tiles.first(tile) + part;
      if (key >= key_end) break;
      const Sight& sight = place->sights[threadIdx.x / kWarpSize];
      if (!free && sight.none(key, key + kKeys)) continue;
      const T* const keys = stage_of<P, kStageKeys>(stages, tile) + part * P;
      const T* const values = keys + kStageKeys * P;
      const uint32_t kept = a.dropout.probability > 0.0f ? kept_weights<kBlocks, kTiles>(a, *place, row, key + 2 * t) : 0;
      float scores[kBlocks][kTiles][4], dscores[kBlocks][kTiles][4];
      clear(scores);
      clear(dscores);
      queries.template multiply<false>(scores, keys, p.dim, p.tf32);
      douts.template multiply<false>(dscores, values, a.v.dim, p.tf32);
      float factor = p.scale_log2;
      if (key + kKeys > key_end || !(free || sight.all(key, key + kKeys))) {
        scale(scores, factor);
        factor = 1.0f;
#pragma unroll
        for (int m = 0; m < kBlocks; ++m)
          mask_scores(scores[m], p, place->s, p.group, place->kv_head * p.group, row + 16 * m, all_rows, key + 2 * t, key_end);
      }
      if (a.dropout.probability > 0.0f) drop(dscores, kept, a.dropout.factor);
#pragma unroll
      for (int m = 0; m < kBlocks; ++m)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const Vec<float, 2> own = load_shared<2>(&row_gradients[warp_row + g + 16 * m + 8 * half].log2_sum);
          const RowGradient of = {own[0], own[1]};
#pragma unroll
          for (int n = 0; n < kTiles; ++n)
#pragma unroll
            for (int i = 2 * half; i < 2 * half + 2; ++i)
              dscores[m][n][i] = of.gradient(of.weight(scores[m][n][i] * factor), dscores[m][n][i]);
        }
      multiply_columns<T, P>(dquery, dscores, keys, 0, p.dim, p.tf32);
    }
  }
  if (idle) return;
  const float factor[2] = {p.scale, p.scale};
#pragma unroll
  for (int m = 0; m < kBlocks; ++m) {
    const int at_row = warp_row + 16 * m;
    store_rows<T, P>(dquery[m], factor, query_tile + at_row * P,
                     a.dq.of<T>(place->s.b, place->s.first_q, place->kv_head * p.group, p.group), place->first + at_row, all_rows, 0,
                     p.dim);
  }
}

}  // namespace tilewise::TILEWISE_GPU::attention_tile
