// What the kernels of attention's forward pass share: their parameters, the softmax of a warp's rows, and keys that are cut into parts.
//
// Few rows per sequence, as in decoding, leave a GPU idle: then the keys are cut into parts for more blocks, whose sums a second kernel
// joins in order. Of a cache only the device knows how much it holds. So either each sequence cuts what it has into as many parts, those
// that the launch has room for, or all sequences are cut into parts of one size: then a part is an item of a list, in order of the
// sequences, and each block finds its item from the lengths of all of them.
#pragma once
#include "attention_pages.cuh"
#include "dispatch.h"

namespace tilewise::TILEWISE_GPU {
namespace attention_tile {

constexpr int kFewRows = 16;  // of an mma

// How the keys of one sequence are cut: part i begins at first_key + i * part_keys.
struct Parts {
  int first_key, part_keys, parts;
};

struct Forward {
  AttentionProblem p;
  AttentionCache cache;
  AttentionTensor q, k, v, output;
  AttentionDropout dropout;
  float* log_sum_exp;
  int row_tiles = 1,
      parts = 1;  // parts > 1: sums of sequences with several go to `partial`, by key heads, rows and parts, `columns` values each
  int items = 0, wanted_items = 0;  // of a list: their most, and how many there would be if sequences ended with parts
  int tile_keys, least_tiles;       // of a part: fewer are not worth a block
  int columns;
  bool whole_rows = false;  // rows of k and v are as wide as tiles, lie 16 bytes aligned and less than 2^31 elements apart
  float *partial = nullptr, *partial_most = nullptr, *partial_total = nullptr;

  Forward(const Gpu& gpu, const attention_args& args, int tile_keys, int least_tiles)
      : p(gpu, args),
        cache(gpu, args),
        q(args.q),
        k(args.k),
        v(args.v),
        output(args.output),
        dropout(args.dropout, args.seed, args.counter),
        log_sum_exp(args.log_sum_exp.as<float>()),
        tile_keys(tile_keys),
        least_tiles(least_tiles),
        columns((static_cast<int>(args.v.last()) + kGroup - 1) / kGroup * kGroup) {}

  // For as many blocks a key head of a sequence, or fewer where that makes parts too small or leaves some without keys.
  Status cut(Context& context, int64_t wanted) {
    const int64_t tiles = (p.max_k + tile_keys - 1) / tile_keys, most = (tiles + least_tiles - 1) / least_tiles;
    if (wanted > most) wanted = most;
    if (wanted <= 1) return Status::ok();
    const int64_t part_tiles = (tiles + wanted - 1) / wanted;
    parts = static_cast<int>((tiles + part_tiles - 1) / part_tiles);
    return get_partial(context, int64_t{p.batch} * parts);
  }
  // Into about as many items of one size, for sequences of which some may be much longer than others.
  Status cut_evenly(Context& context, int64_t wanted) {
    const int64_t tiles = (p.max_k + tile_keys - 1) / tile_keys, most = p.batch * ((tiles + least_tiles - 1) / least_tiles);
    wanted_items = static_cast<int>(wanted);
    items = parts =
        static_cast<int>(wanted + p.batch < most ? wanted + p.batch : most);  // each sequence may end with a part that is not full
    return get_partial(context, items);
  }

  // How the keys of a sequence are cut: from the first that any query sees, in whole tiles.
  __device__ __forceinline__ Parts parts_of(const AttentionSequence& s) const {
    if (parts == 1) return {0, s.keys, 1};
    return parts_of(s, max(least_tiles, (tiles_of(s) + parts - 1) / parts));
  }
  __device__ __forceinline__ Parts parts_of(const AttentionSequence& s, int part_tiles) const {
    return {first_key(s), part_tiles * tile_keys, max(1, (tiles_of(s) + part_tiles - 1) / part_tiles)};
  }
  __device__ __forceinline__ int64_t partial_row(int b, int kv_head, int row, int part) const {
    return ((int64_t{b} * p.kv_heads + kv_head) * (int64_t{p.max_q} * p.group) + row) * parts + part;
  }

  // Of a list of items, by all lanes of a warp. The tiles of an item:
  __device__ __forceinline__ int item_tiles() const {
    int tiles = 0;
    for (int b = threadIdx.x % kWarpSize; b < p.batch; b += kWarpSize) tiles += tiles_of(AttentionSequence(p, cache, b));
    return max(least_tiles, (__reduce_add_sync(0xffffffffu, tiles) + wanted_items - 1) / wanted_items);
  }
  // The sequence that an item is of, and the sequence's first item. False where the list is shorter.
  __device__ __forceinline__ bool find_item(int item, int part_tiles, int& b, int& first_item) const {
    const int lane = threadIdx.x % kWarpSize;
    int before = 0;
    for (int first = 0; first < p.batch; first += kWarpSize) {
      const int count = first + lane < p.batch ? parts_of(AttentionSequence(p, cache, first + lane), part_tiles).parts : 0;
      int end = before + count;
#pragma unroll
      for (int lanes = 1; lanes < kWarpSize; lanes *= 2) {
        const int other = __shfl_up_sync(0xffffffffu, end - before, lanes);
        if (lane >= lanes) end += other;
      }
      const uint32_t later = __ballot_sync(0xffffffffu, end > item);
      if (later != 0) {
        const int found = __ffs(static_cast<int>(later)) - 1;
        b = first + found;
        first_item = __shfl_sync(0xffffffffu, end - count, found);
        return true;
      }
      before = __shfl_sync(0xffffffffu, end, kWarpSize - 1);
    }
    return false;
  }
  // The first item of sequence b.
  __device__ __forceinline__ int first_item(int b, int part_tiles) const {
    int items = 0;
    for (int other = threadIdx.x % kWarpSize; other < b; other += kWarpSize)
      items += parts_of(AttentionSequence(p, cache, other), part_tiles).parts;
    return __reduce_add_sync(0xffffffffu, items);
  }
  __device__ __forceinline__ int64_t item_row(int kv_head, int row, int item) const {
    return (int64_t{kv_head} * (int64_t{p.max_q} * p.group) + row) * items + item;
  }

 private:
  Status get_partial(Context& context, int64_t of_a_row) {
    const size_t rows = static_cast<size_t>(of_a_row * p.kv_heads * p.max_q * p.group);
    void* memory;
    TILEWISE_RETURN_IF_ERROR(context.scratch(rows * (columns + 2) * sizeof(float), &memory));
    partial = static_cast<float*>(memory);
    partial_most = partial + rows * columns;
    partial_total = partial_most + rows;
    return Status::ok();
  }
  __device__ __forceinline__ int first_key(const AttentionSequence& s) const { return min(s.masked_keys, max(0, s.shift - p.left)); }
  __device__ __forceinline__ int tiles_of(const AttentionSequence& s) const { return (s.keys - first_key(s) + tile_keys - 1) / tile_keys; }
};

// One lane's part of the softmax over its rows g and g + 8: the largest score so far, in units of log2, and the lane's share of the sum.
struct RowSums {
  float most[2] = {-INFINITY, -INFINITY}, total[2] = {0.0f, 0.0f};

  // scores -> 2^(score - most); decay is what earlier sums shrink by. A row that has seen nothing keeps weights of 0.
  template <int kTiles>
  __device__ __forceinline__ void update(float (&scores)[kTiles][4], float (&decay)[2]) {
    update<0>(scores, decay);
    update<1>(scores, decay);
  }
  // Of one of the two rows.
  template <int kHalf, int kTiles>
  __device__ __forceinline__ void update(float (&scores)[kTiles][4], float (&decay)[2]) {
    float now = most[kHalf];
#pragma unroll
    for (int n = 0; n < kTiles; ++n) now = fmaxf(now, fmaxf(scores[n][2 * kHalf], scores[n][2 * kHalf + 1]));
    now = fmaxf(now, __shfl_xor_sync(0xffffffffu, now, 1));
    now = fmaxf(now, __shfl_xor_sync(0xffffffffu, now, 2));
    const float base = now == -INFINITY ? 0.0f : now;
    decay[kHalf] = exp2_approx(most[kHalf] - base);
    most[kHalf] = now;
    float sum = 0.0f;
#pragma unroll
    for (int n = 0; n < kTiles; ++n)
#pragma unroll
      for (int i = 2 * kHalf; i < 2 * kHalf + 2; ++i) sum += scores[n][i] = exp2_approx(scores[n][i] - base);
    total[kHalf] = total[kHalf] * decay[kHalf] + sum;
  }
  __device__ __forceinline__ void finish() {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      total[half] += __shfl_xor_sync(0xffffffffu, total[half], 1);
      total[half] += __shfl_xor_sync(0xffffffffu, total[half], 2);
    }
  }
};

// Writes columns [column, min(column + 4, dim)) of a row, a multiple of 4: sums times a factor.
template <class T>
__device__ __forceinline__ void store_columns(const HeadRows<T>& rows, int row, int column, int dim, const float (&sum)[4], float factor) {
  T* const to = rows.at(row) + column;
  if (rows.vectors && column + 4 <= dim) {
    store<4>(to, Vec<T, 4>{{T(sum[0] * factor), T(sum[1] * factor), T(sum[2] * factor), T(sum[3] * factor)}});
  } else {
#pragma unroll
    for (int c = 0; c < 4; ++c)
      if (column + c < dim) store_float(to + c, sum[c] * factor);
  }
}

__device__ __forceinline__ float log_sum_exp_of(float most, float total) { return total == 0.0f ? -INFINITY : most * kLn2 + logf(total); }

namespace {

constexpr int kCombineWarps = 4, kCombineLoads = 8;

// A warp a row: a lane has a part's weight, then four columns, of which it adds the parts in order. No load waits for another but in
// batches.
template <class T>
__global__ void __launch_bounds__(32 * kCombineWarps) attention_combine(const __grid_constant__ Forward a) {
  const AttentionProblem& p = a.p;
  const int64_t index = int64_t{blockIdx.x} * kCombineWarps + threadIdx.x / kWarpSize;
  const int lane = threadIdx.x % kWarpSize, most_rows = p.max_q * p.group;
  const int row = static_cast<int>(index % most_rows), kv_head = static_cast<int>(index / most_rows % p.kv_heads);
  const int64_t b = index / most_rows / p.kv_heads;
  if (b >= p.batch) return;
  const AttentionSequence s(p, a.cache, static_cast<int>(b));
  if (row >= s.queries * p.group) return;
  const int part_tiles = a.items > 0 ? a.item_tiles() : 0;
  const int parts = a.items > 0 ? a.parts_of(s, part_tiles).parts : a.parts_of(s).parts;
  if (parts == 1) return;  // its block has written the results
  const int64_t at = a.items > 0 ? a.item_row(kv_head, row, a.first_item(s.b, part_tiles)) : a.partial_row(s.b, kv_head, row, 0);
  float most = -INFINITY;
  for (int part = lane; part < parts; part += kWarpSize) most = fmaxf(most, load_constant(a.partial_most + at + part)[0]);
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, lanes));
  const float base = most == -INFINITY ? 0.0f : most;
  float total = 0.0f;
  for (int part = lane; part < parts; part += kWarpSize)
    total += load_constant(a.partial_total + at + part)[0] * exp2_approx(load_constant(a.partial_most + at + part)[0] - base);
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) total += __shfl_xor_sync(0xffffffffu, total, lanes);
  const float factor = total == 0.0f ? 0.0f : a.dropout.factor / total;

  const HeadRows<T> output = a.output.of<T>(s.b, s.first_q, kv_head * p.group, p.group);
  for (int first_column = 0; first_column < a.columns; first_column += 4 * kWarpSize) {
    const int column = first_column + 4 * lane;
    float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    for (int from = 0; from < parts; from += kWarpSize) {
      const float weight = from + lane < parts ? exp2_approx(load_constant(a.partial_most + at + from + lane)[0] - base) : 0.0f;
      const int count = min(parts - from, kWarpSize);
      for (int first = 0; first < count; first += kCombineLoads) {
        Vec<float, 4> values[kCombineLoads];
#pragma unroll
        for (int i = 0; i < kCombineLoads; ++i) {
          if (first + i < count && column < a.columns)
            values[i] = load_constant<4>(a.partial + (at + from + first + i) * a.columns + column);
          else
            values[i] = {{0.0f, 0.0f, 0.0f, 0.0f}};
        }
#pragma unroll
        for (int i = 0; i < kCombineLoads; ++i) {
          const float of_part = __shfl_sync(0xffffffffu, weight, first + i);
#pragma unroll
          for (int c = 0; c < 4; ++c) sum[c] += of_part * values[i][c];
        }
      }
    }
    store_columns(output, row, column, a.v.dim, sum, factor);
  }
  const int i = row / p.group;
  if (lane == 0)
    store_float(a.log_sum_exp + s.query_row(p, i) * p.heads + kv_head * p.group + row - i * p.group, log_sum_exp_of(most, total));
}

template <class T>
Status launch_combine(const Gpu& gpu, const Forward& a) {
  if (a.parts == 1) return Status::ok();
  const int64_t rows = int64_t{a.p.batch} * a.p.kv_heads * a.p.max_q * a.p.group, blocks = (rows + kCombineWarps - 1) / kCombineWarps;
  return launch(gpu, {"attention_combine", dim3(static_cast<unsigned>(blocks)), dim3(32 * kCombineWarps)}, attention_combine<T>, a);
}

}  // namespace
}  // namespace attention_tile

// The op for at most attention_tile::kFewRows rows a key head, query rows times the query heads that share it, without dropout.
Status attention_few_rows(Context& context, const attention_args& args);

}  // namespace tilewise::TILEWISE_GPU
