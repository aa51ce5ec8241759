// Layer norm and RMS norm in one text: sum = residual + dropout(x), y = norm(sum). The variance is by two passes over the registers that
// hold the row; a row too long for them is read twice, and its variance merged from tiles by Chan's rule.
#pragma once
#include "norm_row.cuh"

namespace tilewise::TILEWISE_GPU {
namespace {

// Pieces of 16 bytes that a thread holds: of each row, of each tensor.
constexpr int kNormPieces = 4;

template <class T>
struct NormForward {
  const T *x, *residual;
  Parameter weight, bias;
  T *y, *sum;
  float *mean, *rstd;
  int64_t rows;
  int n, width;
  float eps;
  Dropout dropout;
};

// A piece of sum, rounded to T as it is stored (or would be): the norm is that of the stored sum.
template <bool kDrops, class T, int N>
__device__ __forceinline__ Packed<T, N> sum_piece(const NormForward<T>& a, int64_t element, const Vec<T, N>& x, const Vec<T, N>& residual) {
  float values[N];
#pragma unroll
  for (int i = 0; i < N; ++i) values[i] = static_cast<float>(x[i]);
  if constexpr (kDrops) a.dropout.apply(element, values);
  Vec<T, N> sum;
#pragma unroll
  for (int i = 0; i < N; ++i) sum[i] = T(a.residual ? static_cast<float>(residual[i]) + values[i] : values[i]);
  if (a.sum) store(a.sum + element, sum);
  return Packed<T, N>(sum);
}

// The thread's tile of sum.
template <class T, int N, int K, class Team>
__device__ __forceinline__ void load_sum(const NormForward<T>& a, const Team& team, int64_t first, int from, int pieces,
                                         Packed<T, N> (&sum)[K]) {
  load_tile(team, a.x + first, from, pieces, sum);
  if (!a.residual && !a.dropout.drops() && !a.sum) return;
  Packed<T, N> residual[K];
  if (a.residual) load_tile(team, a.residual + first, from, pieces, residual);
  int at = from + team.member;
  if (a.dropout.drops()) {
    // A piece at a time: random numbers for all at once would need more registers than the rest of the kernel.
#pragma unroll 1
    for (int k = 0; k < K; ++k, at += team.width) {
      if (at < pieces) sum[0] = sum_piece<true>(a, first + int64_t{at} * N, sum[0].unpack(), residual[0].unpack());
      rotate(sum);
      rotate(residual);
    }
    return;
  }
#pragma unroll
  for (int k = 0; k < K; ++k, at += team.width)
    if (at < pieces) sum[k] = sum_piece<false>(a, first + int64_t{at} * N, sum[k].unpack(), residual[k].unpack());
}

// y = (sum - mean) * rstd * weight + bias
template <class T, int N, int K, class Team>
__device__ __forceinline__ void store_normal(const NormForward<T>& a, const Team& team, int64_t first, int from, int pieces,
                                             const Packed<T, N> (&sum)[K], float mean, float rstd) {
#pragma unroll
  for (int k = 0; k < K; ++k) {
    const int at = from + team.member + k * team.width;
    if (at >= pieces) continue;
    const int64_t column = int64_t{at} * N;
    float weight[N], bias[N];
    a.weight.template load<T>(column, 1.0f, weight);
    a.bias.template load<T>(column, 0.0f, bias);
    const Vec<T, N> x = sum[k].unpack();
    Vec<T, N> y;
#pragma unroll
    for (int i = 0; i < N; ++i) y[i] = T((static_cast<float>(x[i]) - mean) * rstd * weight[i] + bias[i]);
    store(a.y + first + column, y);
  }
}

template <bool kCentered, class T, int N, int K, bool kBlock>
__global__ void __launch_bounds__(kBlock ? kBlockRowThreads : kLaneRowThreads, kBlock ? 2 : 8)
    norm_forward(const __grid_constant__ NormForward<T> a) {
  const RowTeam<kBlock> team(a.width);
  const int64_t row = int64_t{blockIdx.x} * team.slots() + team.slot, first = row * a.n;
  const int pieces = row < a.rows ? a.n / N : 0;
  Packed<T, N> sum[K];
  load_sum(a, team, first, 0, pieces, sum);
  float mean = 0.0f;
  if constexpr (kCentered) {
    float total = 0.0f;
#pragma unroll
    for (int k = 0; k < K; ++k) {
      if (team.member + k * team.width >= pieces) continue;
      const Vec<T, N> x = sum[k].unpack();
#pragma unroll
      for (int i = 0; i < N; ++i) total += static_cast<float>(x[i]);
    }
    mean = team.template reduce<Add>(total) / static_cast<float>(a.n);
  }
  float squares = 0.0f;
#pragma unroll
  for (int k = 0; k < K; ++k) {
    if (team.member + k * team.width >= pieces) continue;
    const Vec<T, N> x = sum[k].unpack();
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const float centered = static_cast<float>(x[i]) - mean;
      squares += centered * centered;
    }
  }
  const float rstd = 1.0f / sqrtf(team.template reduce<Add>(squares) / static_cast<float>(a.n) + a.eps);
  if (row < a.rows && team.member == 0) {
    if constexpr (kCentered) store_float(a.mean + row, mean);
    store_float(a.rstd + row, rstd);
  }
  store_normal(a, team, first, 0, pieces, sum, mean, rstd);
}

// Sum and count of values; sum of their distances from a pivot, and of the squared distances from their mean, joined by Chan's rule.
struct Moments {
  float count, total, sum, squares;

  __device__ __forceinline__ void join(const Moments& other) {
    if (other.count == 0.0f) return;
    if (count > 0.0f) {
      const float delta = other.sum / other.count - sum / count;
      squares += delta * delta * (count * (other.count / (count + other.count)));
    }
    count += other.count;
    total += other.total;
    sum += other.sum;
    squares += other.squares;
  }
};

__device__ __forceinline__ Moments block_join(Moments own) {
  SHARED_ARRAY(Moments, partial, kWarpSize);
  const int warp = threadIdx.x / kWarpSize, lane = threadIdx.x % kWarpSize, warps = blockDim.x / kWarpSize;
#pragma unroll
  for (int lanes = 1; lanes < kWarpSize; lanes *= 2) {
    const Moments other = {__shfl_down_sync(kFullMask, own.count, lanes), __shfl_down_sync(kFullMask, own.total, lanes),
                           __shfl_down_sync(kFullMask, own.sum, lanes), __shfl_down_sync(kFullMask, own.squares, lanes)};
    if (lane % (2 * lanes) == 0) own.join(other);
  }
  if (lane == 0) partial[warp] = own;
  __syncthreads();
  own = partial[0];
  for (int i = 1; i < warps; ++i) own.join(partial[i]);
  return own;
}

template <bool kCentered, class T, int N, int K>
__global__ void __launch_bounds__(kBlockRowThreads) norm_forward_tiles(const __grid_constant__ NormForward<T> a) {
  const RowTeam<true> team(a.width);
  const int64_t row = blockIdx.x, first = row * a.n;
  const int pieces = a.n / N;
  // The pivot is of the row's size: means of tiles, rounded, would lose the spread of rows that are far from 0.
  float pivot = 0.0f;
  if constexpr (kCentered) {
    pivot = static_cast<float>(load_constant(a.x + first)[0]);
    if (a.residual) pivot += static_cast<float>(load_constant(a.residual + first)[0]);
  }
  Moments moments = {0.0f, 0.0f, 0.0f, 0.0f};
  for (int from = 0; from < pieces; from += K * team.width) {
    Packed<T, N> sum[K];
    load_sum(a, team, first, from, pieces, sum);
    Moments tile = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
    for (int k = 0; k < K; ++k) {
      if (from + team.member + k * team.width >= pieces) continue;
      tile.count += N;
      const Vec<T, N> x = sum[k].unpack();
#pragma unroll
      for (int i = 0; i < N; ++i) {
        tile.total += static_cast<float>(x[i]);
        if constexpr (kCentered) tile.sum += static_cast<float>(x[i]) - pivot;
      }
    }
    if (tile.count == 0.0f) continue;
    const float tile_mean = tile.sum / tile.count;
#pragma unroll
    for (int k = 0; k < K; ++k) {
      if (from + team.member + k * team.width >= pieces) continue;
      const Vec<T, N> x = sum[k].unpack();
#pragma unroll
      for (int i = 0; i < N; ++i) {
        const float centered = (static_cast<float>(x[i]) - pivot) - tile_mean;
        tile.squares += centered * centered;
      }
    }
    moments.join(tile);
  }
  moments = block_join(moments);
  const float mean = kCentered ? moments.total / static_cast<float>(a.n) : 0.0f;
  const float rstd = 1.0f / sqrtf(moments.squares / static_cast<float>(a.n) + a.eps);
  if (team.member == 0) {
    if constexpr (kCentered) store_float(a.mean + row, mean);
    store_float(a.rstd + row, rstd);
  }
  // Each thread reads what it has stored itself.
  for (int from = 0; from < pieces; from += K * team.width) {
    Packed<T, N> sum[K];
    if (a.sum) {
#pragma unroll
      for (int k = 0; k < K; ++k) {
        const int at = from + team.member + k * team.width;
        if (at < pieces) sum[k] = Packed<T, N>(load<N>(a.sum + first + int64_t{at} * N));
      }
    } else {
      load_sum(a, team, first, from, pieces, sum);
    }
    store_normal(a, team, first, from, pieces, sum, mean, rstd);
  }
}

// RMS norm has no bias and no mean: absent views.
struct NormForwardViews {
  const View &x, &residual, &weight, bias, &y, &sum, mean, &rstd;
  float eps;
  Dropout dropout;
};

template <bool kCentered>
Status run_norm_forward(Context& context, const NormForwardViews& a) {
  const int64_t n = a.x.last(), rows = a.x.rows();
  if (rows > 0x7fffffff || n > 0x3fffffff) return too_large(a.x);
  return dispatch_float(a.x.dtype, [&](auto type) {
    using T = decltype(type);
    constexpr int N = kVector<T>, K = kNormPieces;
    const View* views[] = {&a.x, &a.residual, &a.weight, &a.bias, &a.y, &a.sum};
    bool aligned = true;
    for (const View* view : views) aligned = aligned && (!*view || aligned16(view->data));
    const RowPlan plan(n, sizeof(T), K, aligned);
    const NormForward<T> p{a.x.as<const T>(),
                           pointer<const T>(a.residual),
                           Parameter(a.weight),
                           Parameter(a.bias),
                           a.y.as<T>(),
                           pointer<T>(a.sum),
                           pointer<float>(a.mean),
                           a.rstd.as<float>(),
                           rows,
                           static_cast<int>(n),
                           plan.width,
                           a.eps,
                           a.dropout};
    using Kind = RowPlan::Kind;
    const auto kernel = plan.kind == Kind::lanes   ? norm_forward<kCentered, T, N, K, false>
                        : plan.kind == Kind::block ? norm_forward<kCentered, T, N, K, true>
                        : plan.kind == Kind::tiles ? norm_forward_tiles<kCentered, T, N, K>
                                                   : norm_forward_tiles<kCentered, T, 1, kScalarPieces>;
    const LaunchShape shape{kCentered ? "layer_norm" : "rms_norm", plan.grid(rows), dim3(static_cast<unsigned>(plan.threads()))};
    return launch(gpu_of(context), shape, kernel, p);
  });
}

}  // namespace
}  // namespace tilewise::TILEWISE_GPU
