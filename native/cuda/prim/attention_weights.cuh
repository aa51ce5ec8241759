// What backward kernels know of a query row beside its tiles, and matrices over queries and keys that are written out: attention weights,
// and the gradient of a bias.
#pragma once
#include "attention_tile.cuh"

namespace tilewise::TILEWISE_GPU::attention_tile {

// In units of log2, so that 2^(score - this) is a weight. A row that sees nothing has -inf and gets weights of 0 from +inf.
__device__ __forceinline__ float log2_sum_of(const float* log_sum_exp) {
  const float value = load_float(log_sum_exp);
  return value == -INFINITY ? INFINITY : value * kLog2E;
}

// scores -> weights; dweights -> gradient of the scores: weights times dweights, less delta = rowsum(doutput * output).
struct RowGradient {
  float log2_sum, delta;
  __device__ __forceinline__ float weight(float score) const { return exp2_approx(score - log2_sum); }
  __device__ __forceinline__ float gradient(float weight, float dweight) const { return weight * (dweight - delta); }
};

// out [B, H, Tq, Tk] f32, any of which may be 1: the sum over that dimension. A block a tile of it; what is summed comes tile by tile in
// order, cut into parts where there are few blocks.
struct AttentionMatrix {
  AttentionProblem p;
  AttentionTensor q, k, v, doutput;
  AttentionDropout dropout;
  const float *log_sum_exp, *delta;
  float* out;
  float factor;
  int dims[4], tiles[2];  // of out: sizes, tiles of rows and of keys
  int sums[4];            // sequences, heads, tiles of rows and of keys that are summed
  int parts, part_sums;
  int64_t size;

  template <class Args>
  AttentionMatrix(const Gpu& gpu, const Args& a, const View& values, const View& doutput, const AttentionDropout& dropout,
                  const float* delta, const View& result)
      : p(gpu, a),
        q(a.q),
        k(a.k),
        v(values),
        doutput(doutput),
        dropout(dropout),
        log_sum_exp(a.log_sum_exp.template as<const float>()),
        delta(delta),
        out(result.as<float>()),
        factor(1.0f),
        size(result.count()) {
    for (int i = 0; i < 4; ++i) dims[i] = i < 4 - result.rank ? 1 : static_cast<int>(result.dims[i - (4 - result.rank)]);
  }
};

constexpr int kMatrixWarps = 4;

// The score gradient of each pair (kGradient), or its weight. Some name their blocks a multiprocessor (0: any): left alone, ptxas
// aims at more of them than shared memory has room for, and spills.
template <class T, int P, bool kGradient>
__global__ void __launch_bounds__(32 * kMatrixWarps, sizeof(T) == 4 || P == 256 ? 4
                                                     : P == 128                 ? 3
                                                                : 0) attention_matrix(const __grid_constant__ AttentionMatrix a) {
  constexpr int kKeys = kTileRows<T, P>, kTiles = kKeys / 8;
  SHARED_ARRAY(float, column_sums, kMatrixWarps* kKeys);
  const AttentionProblem& p = a.p;
  const int warps = blockDim.x / kWarpSize, rows = 16 * warps;
  const int warp = threadIdx.x / kWarpSize, lane = threadIdx.x % kWarpSize, g = lane / 4, t = lane % 4, warp_row = 16 * warp;
  unsigned index = blockIdx.x;
  const int part = index % a.parts;
  index /= a.parts;
  const int key_tile = index % a.tiles[1];
  index /= a.tiles[1];
  const int row_tile = index % a.tiles[0];
  index /= a.tiles[0];
  const int out_head = index % a.dims[1], out_b = index / a.dims[1];

  T* const query_tile = dynamic_smem<T>();
  T* const key_rows = query_tile + rows * P;
  T* const dout_tile = key_rows + kKeys * P;
  T* const value_rows = dout_tile + rows * P;
  float sums[1][kTiles][4];
  clear(sums);
  float(&total)[kTiles][4] = sums[0];
  const int last = min((part + 1) * a.part_sums, a.sums[0] * a.sums[1] * a.sums[2] * a.sums[3]);
  for (int sum = part * a.part_sums; sum < last; ++sum) {
    int rest = sum;
    const int key = (key_tile + rest % a.sums[3]) * kKeys;
    rest /= a.sums[3];
    const int first = (row_tile + rest % a.sums[2]) * rows;
    rest /= a.sums[2];
    const int head = out_head + rest % a.sums[1], b = out_b + rest / a.sums[1];
    const AttentionSequence s(p, b);
    const int end = kGradient ? s.masked_keys : s.keys, query_end = min(first + rows, s.queries);
    const bool free = !kGradient && key < s.keys && key + kKeys > s.masked_keys;
    const bool seen = key < min(s.limit, query_end + s.shift + p.right) && key + kKeys > first + s.shift - p.left;
    if (first >= s.queries || !(free || seen)) continue;
    const int kv_head = head / p.group;
    const RowRange queries = {0, s.queries, 0, 0}, keys = {0, end, s.limit, s.masked_keys};
    load_tile<T, P>(query_tile, rows, a.q.of<T>(b, s.first_q, head, 1), first, queries, p.dim);
    load_tile<T, P>(key_rows, kKeys, a.k.of<T>(b, s.first_k, kv_head, 1), key, keys, p.dim);
    if constexpr (kGradient) {
      load_tile<T, P>(dout_tile, rows, a.doutput.of<T>(b, s.first_q, head, 1), first, queries, a.v.dim);
      load_tile<T, P>(value_rows, kKeys, a.v.of<T>(b, s.first_k, kv_head, 1), key, keys, a.v.dim);
    }
    copy_async_commit();
    copy_async_wait<0>();
    __syncthreads();
    const int row = first + warp_row + g;
    if (first + warp_row < s.queries) {
      float scores[1][kTiles][4], dweights[1][kGradient ? kTiles : 1][4];
      clear(scores);
      multiply_rows<T, P>(scores, query_tile, warp_row, key_rows, p.dim, p.tf32);
      scale(scores, p.scale_log2);
      mask_scores(scores[0], p, s, 1, head, row, s.queries, key + 2 * t, end);
      if constexpr (kGradient) {
        clear(dweights);
        multiply_rows<T, P>(dweights, dout_tile, warp_row, value_rows, a.v.dim, p.tf32);
      }
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int i = row + 8 * half;
        if (i >= s.queries) continue;
        const int64_t at = s.query_row(p, i) * p.heads + head;
        const RowGradient of = {log2_sum_of(a.log_sum_exp + at), kGradient ? load_float(a.delta + at) : 0.0f};
        const uint64_t element = AttentionDropout::row(p, b, head, i) + key + 2 * t;
#pragma unroll
        for (int n = 0; n < kTiles; ++n) {
          float factors[2] = {1.0f, 1.0f};
          if (kGradient && a.dropout.probability > 0.0f) a.dropout.pair(element + 8 * n, factors);
#pragma unroll
          for (int c = 0; c < 2; ++c) {
            const float weight = of.weight(scores[0][n][2 * half + c]);
            if constexpr (kGradient)
              total[n][2 * half + c] += of.gradient(weight, dweights[0][n][2 * half + c] * factors[c]);
            else
              total[n][2 * half + c] += weight * a.factor;
          }
        }
      }
    }
    __syncthreads();  // before the next tiles come
  }

  const bool sums_rows = a.dims[2] == 1, sums_keys = a.dims[3] == 1;
  if (sums_keys) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float sum = 0.0f;
#pragma unroll
      for (int n = 0; n < kTiles; ++n) sum += total[n][2 * half] + total[n][2 * half + 1];
      sum += __shfl_xor_sync(0xffffffffu, sum, 1);
      sum += __shfl_xor_sync(0xffffffffu, sum, 2);
      total[0][2 * half] = sum;
    }
  }
  float* const out = a.out + part * a.size + (int64_t{out_b} * a.dims[1] + out_head) * a.dims[2] * a.dims[3];
  const int first_key = sums_keys ? 0 : key_tile * kKeys;
  if (sums_rows) {
#pragma unroll
    for (int n = 0; n < kTiles; ++n)
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        float sum = total[n][c] + total[n][2 + c];
#pragma unroll
        for (int lanes = 4; lanes < kWarpSize; lanes *= 2) sum += __shfl_xor_sync(0xffffffffu, sum, lanes);
        if (g == 0) column_sums[warp * kKeys + 8 * n + 2 * t + c] = sum;
      }
    __syncthreads();
    for (int at = threadIdx.x; at < kKeys && first_key + at < a.dims[3]; at += blockDim.x) {
      float sum = 0.0f;
      for (int w = 0; w < warps; ++w) sum += column_sums[w * kKeys + at];
      store_float(out + first_key + at, sum);
    }
    return;
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = row_tile * rows + warp_row + g + 8 * half;
    if (row >= a.dims[2]) continue;
    float* const to = out + int64_t{row} * a.dims[3];
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
      const int at = first_key + 8 * n + 2 * t;
      if (a.dims[3] % 2 == 0 && at < a.dims[3]) {
        store<2>(to + at, Vec<float, 2>{{total[n][2 * half], total[n][2 * half + 1]}});
      } else {
#pragma unroll
        for (int c = 0; c < 2; ++c)
          if (at + c < a.dims[3]) store_float(to + at + c, total[n][2 * half + c]);
      }
    }
  }
}

constexpr int kSumThreads = 256;

// out = the sum of `parts` arrays, in order.
static __global__ void __launch_bounds__(kSumThreads) attention_sum_parts(const float* from, float* out, int64_t size, int parts) {
  const int64_t at = int64_t{blockIdx.x} * kSumThreads + threadIdx.x;
  if (at >= size) return;
  float sum = 0.0f;
  for (int part = 0; part < parts; ++part) sum += load_float(from + part * size + at);
  store_float(out + at, sum);
}

template <class T, int P, bool kGradient>
Status write_matrix(Context& context, const char* name, AttentionMatrix a) {
  if (a.size == 0) return Status::ok();
  const Gpu& gpu = gpu_of(context);
  const AttentionProblem& p = a.p;
  constexpr int kKeys = kTileRows<T, P>;
  constexpr size_t kRow = (kGradient ? 2 : 1) * P * sizeof(T);
  const int warps = attention_warps(gpu, p.max_q, kMatrixWarps, kKeys * kRow, 16 * kRow);
  const int whole[4] = {p.batch, p.heads, (p.max_q + 16 * warps - 1) / (16 * warps), (p.max_k + kKeys - 1) / kKeys};
  int64_t blocks = 1, sums = 1;
  for (int i = 0; i < 4; ++i) {
    const bool summed = a.dims[i] == 1;
    a.sums[i] = summed ? whole[i] : 1;
    if (i >= 2) a.tiles[i - 2] = summed ? 1 : whole[i];
    blocks *= i < 2 ? a.dims[i] : a.tiles[i - 2];
    sums *= a.sums[i];
  }
  const int64_t wanted = 2 * int64_t{gpu.multiprocessors} / blocks;
  const int64_t parts = wanted < 1 ? 1 : wanted < sums ? wanted : sums > 0 ? sums : 1;
  if (blocks * parts > 0x7fffffff || sums > 0x7fffffff) return unsupported(std::string(name) + " of this size");
  a.part_sums = static_cast<int>((sums + parts - 1) / parts);
  a.parts = a.part_sums > 0 ? static_cast<int>((sums + a.part_sums - 1) / a.part_sums) : 1;
  float* const out = a.out;
  if (a.parts > 1) {
    void* memory;
    TILEWISE_RETURN_IF_ERROR(context.scratch(static_cast<size_t>(a.parts) * static_cast<size_t>(a.size) * sizeof(float), &memory));
    a.out = static_cast<float*>(memory);
  }
  const LaunchShape shape{name, dim3(static_cast<unsigned>(blocks * a.parts)), dim3(32 * warps), kKeys * kRow + 16 * kRow * warps};
  TILEWISE_RETURN_IF_ERROR(launch(gpu, shape, attention_matrix<T, P, kGradient>, a));
  if (a.parts == 1) return Status::ok();
  const int64_t sum_blocks = (a.size + kSumThreads - 1) / kSumThreads;
  return launch(gpu, LaunchShape{"attention_sum_parts", dim3(static_cast<unsigned>(sum_blocks)), dim3(kSumThreads)}, attention_sum_parts,
                a.out, out, a.size, a.parts);
}

}  // namespace tilewise::TILEWISE_GPU::attention_tile
