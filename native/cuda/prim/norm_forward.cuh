// Layer norm and RMS norm in one text: sum = residual + dropout(x), y = norm(sum). The variance is by two passes over the registers that
// hold the row; a row too long for them is read twice, and its variance merged from tiles by Chan's rule.
#pragma once
#include "../ptx/copy_async.cuh"
#include "norm_row.cuh"

namespace tilewise::TILEWISE_GPU {
namespace {

// Pieces of 16 bytes that a thread holds: of each row, of each tensor.
constexpr int kNormPieces = 4;
// Warps that a multiprocessor has registers for.
constexpr int kNormForwardWarps = 32;

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

// Each team's next row comes into shared memory by asynchronous copies while it works on one, which it has in registers by then. A thread
// reads what it has copied itself, so that its own wait is enough.
template <class T, int N, int K, class Team>
struct NormAhead {
  Vec<T, N>* memory;  // [x and residual, K, threads]

  __device__ __forceinline__ Vec<T, N>* at(bool residual, int k) const {
    return memory + ((residual ? K : 0) + k) * static_cast<int>(blockDim.x) + threadIdx.x;
  }
  __device__ __forceinline__ void copy(const NormForward<T>& a, const Team& team, int64_t row) const {
    const int pieces = row < a.rows ? a.n / N : 0;
#pragma unroll
    for (int k = 0; k < K; ++k) {
      const int piece = team.member + k * team.width;
      if (piece >= pieces) continue;
      const int64_t element = row * a.n + int64_t{piece} * N;
      copy_async<16>(at(false, k), a.x + element);
      if (a.residual) copy_async<16>(at(true, k), a.residual + element);
    }
    copy_async_commit();
  }
  // The thread's tile of sum.
  __device__ __forceinline__ void take(const NormForward<T>& a, const Team& team, int64_t first, int pieces, Packed<T, N> (&sum)[K]) const {
    copy_async_wait<0>();
    if (a.dropout.drops()) {
      // A piece at a time: random numbers for all at once would need more registers than the rest of the kernel.
#pragma unroll 1
      for (int k = 0; k < K; ++k) {
        const int at = team.member + k * team.width;
        if (at < pieces) sum[0] = piece<true>(a, first + int64_t{at} * N, k);
        rotate(sum);
      }
      return;
    }
#pragma unroll
    for (int k = 0; k < K; ++k) {
      const int at = team.member + k * team.width;
      if (at < pieces) sum[k] = piece<false>(a, first + int64_t{at} * N, k);
    }
  }

 private:
  template <bool kDrops>
  __device__ __forceinline__ Packed<T, N> piece(const NormForward<T>& a, int64_t element, int k) const {
    const Vec<T, N> x = load_shared<N>(at(false, k)->data);
    if (!kDrops && !a.residual && !a.sum) return Packed<T, N>(x);
    Vec<T, N> residual = {};
    if (a.residual) residual = load_shared<N>(at(true, k)->data);
    return sum_piece<kDrops>(a, element, x, residual);
  }
};

// The norm of a row whose sum the team holds.
template <bool kCentered, class T, int N, int K, class Team>
__device__ __forceinline__ void normalize_row(const NormForward<T>& a, const Team& team, int64_t row, int pieces,
                                              const Packed<T, N> (&sum)[K]) {
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
  store_normal(a, team, row * a.n, 0, pieces, sum, mean, rstd);
}

template <bool kCentered, class T, int N, int K, bool kBlock>
__global__ void __launch_bounds__(kBlock ? kBlockRowThreads : kLaneRowThreads,
                                  kNormForwardWarps* kWarpSize / (kBlock ? kBlockRowThreads : kLaneRowThreads))
    norm_forward(const __grid_constant__ NormForward<T> a) {
  using Team = RowTeam<kBlock>;
  const Team team(a.width);
  const NormAhead<T, N, K, Team> ahead{dynamic_smem<Vec<T, N>>()};
  const int64_t step = int64_t{gridDim.x} * team.slots();
  int64_t base = int64_t{blockIdx.x} * team.slots();
  ahead.copy(a, team, base + team.slot);
  for (; base < a.rows; base += step) {
    const int64_t row = base + team.slot;
    const int pieces = row < a.rows ? a.n / N : 0;
    Packed<T, N> sum[K];
    ahead.take(a, team, row * a.n, pieces, sum);
    ahead.copy(a, team, row + step);
    normalize_row<kCentered>(a, team, row, pieces, sum);
  }
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
    // As many blocks as are resident have all rows, and a row of x, and of a residual, each.
    const Gpu& gpu = gpu_of(context);
    const auto threads = static_cast<unsigned>(plan.threads());
    LaunchShape shape{kCentered ? "layer_norm" : "rms_norm", plan.grid(rows), dim3(threads)};
    if (plan.kind == Kind::lanes || plan.kind == Kind::block) {
      const auto resident = static_cast<unsigned>(gpu.multiprocessors) * max(1u, kNormForwardWarps * kWarpSize / threads);
      shape.grid.x = min(shape.grid.x, resident);
      shape.dynamic_shared = size_t{16} * K * (a.residual ? 2 : 1) * threads;
    }
    return launch(gpu, shape, kernel, p);
  });
}

}  // namespace
}  // namespace tilewise::TILEWISE_GPU
