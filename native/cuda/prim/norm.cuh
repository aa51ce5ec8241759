// Layer norm and RMS norm in one text: sum = residual + dropout(x), y = norm(sum). Everything is in f32, the variance by two passes over
// the registers that hold the row; a row too long for them is read twice, and its variance merged from tiles by Chan's rule.
#pragma once
#include "dropout.cuh"
#include "partial_sums.cuh"
#include "rows.cuh"

namespace tilewise::TILEWISE_GPU {
namespace {

// Pieces of 16 bytes that a thread holds: of each row, of each tensor.
constexpr int kNormPieces = 4;
// Elements whose parameters' gradients a thread holds in backward.
constexpr int kNormColumns = 16;

// A weight or bias [n] in f32 or the rows' dtype; absent ones are `standard` everywhere.
struct Parameter {
  const void* data;
  bool f32;

  explicit Parameter(const View& view) : data(view ? view.data : nullptr), f32(view && view.dtype == DType::f32) {}
  template <class T, int N>
  __device__ __forceinline__ void load(int64_t at, float standard, float (&out)[N], SITE) const {
    if (!data) {
#pragma unroll
      for (int i = 0; i < N; ++i) out[i] = standard;
    } else if (f32) {
      constexpr int kWide = N < 4 ? N : 4;
#pragma unroll
      for (int i = 0; i < N; i += kWide) {
        const auto part = load_constant<kWide>(static_cast<const float*>(data) + at + i, site);
#pragma unroll
        for (int j = 0; j < kWide; ++j) out[i + j] = part[j];
      }
    } else {
      const auto part = load_constant<N>(static_cast<const T*>(data) + at, site);
#pragma unroll
      for (int i = 0; i < N; ++i) out[i] = static_cast<float>(part[i]);
    }
  }
};

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

// The thread's tile of sum, rounded to T as it is stored (or would be): the norm is that of the stored sum.
template <class T, int N, int K, class Team>
__device__ __forceinline__ void load_sum(const NormForward<T>& a, const Team& team, int64_t first, int from, int pieces,
                                         Vec<T, N> (&sum)[K]) {
  load_tile(team, a.x + first, from, pieces, sum);
  if (!a.residual && !a.dropout.drops() && !a.sum) return;
  Vec<T, N> residual[K];
  if (a.residual) load_tile(team, a.residual + first, from, pieces, residual);
#pragma unroll
  for (int k = 0; k < K; ++k) {
    const int at = from + team.member + k * team.width;
    if (at >= pieces) continue;
    const int64_t element = first + int64_t{at} * N;
    float values[N];
#pragma unroll
    for (int i = 0; i < N; ++i) values[i] = static_cast<float>(sum[k][i]);
    if (a.dropout.drops()) a.dropout.apply(element, values);
#pragma unroll
    for (int i = 0; i < N; ++i) sum[k][i] = T(a.residual ? static_cast<float>(residual[k][i]) + values[i] : values[i]);
    if (a.sum) store(a.sum + element, sum[k]);
  }
}

// y = (sum - mean) * rstd * weight + bias
template <class T, int N, int K, class Team>
__device__ __forceinline__ void store_normal(const NormForward<T>& a, const Team& team, int64_t first, int from, int pieces,
                                             const Vec<T, N> (&sum)[K], float mean, float rstd) {
#pragma unroll
  for (int k = 0; k < K; ++k) {
    const int at = from + team.member + k * team.width;
    if (at >= pieces) continue;
    const int64_t column = int64_t{at} * N;
    float weight[N], bias[N];
    a.weight.template load<T>(column, 1.0f, weight);
    a.bias.template load<T>(column, 0.0f, bias);
    Vec<T, N> y;
#pragma unroll
    for (int i = 0; i < N; ++i) y[i] = T((static_cast<float>(sum[k][i]) - mean) * rstd * weight[i] + bias[i]);
    store(a.y + first + column, y);
  }
}

template <bool kCentered, class T, int N, int K, bool kBlock>
__global__ void __launch_bounds__(kBlock ? kBlockRowThreads : kLaneRowThreads, kBlock ? 1 : 4)
    norm_forward(const __grid_constant__ NormForward<T> a) {
  const RowTeam<kBlock> team(a.width);
  const int64_t row = int64_t{blockIdx.x} * team.slots() + team.slot, first = row * a.n;
  const int pieces = row < a.rows ? a.n / N : 0;
  Vec<T, N> sum[K];
  load_sum(a, team, first, 0, pieces, sum);
  float mean = 0.0f;
  if constexpr (kCentered) {
    float total = 0.0f;
#pragma unroll
    for (int k = 0; k < K; ++k) {
      if (team.member + k * team.width >= pieces) continue;
#pragma unroll
      for (int i = 0; i < N; ++i) total += static_cast<float>(sum[k][i]);
    }
    mean = team.template reduce<Add>(total) / static_cast<float>(a.n);
  }
  float squares = 0.0f;
#pragma unroll
  for (int k = 0; k < K; ++k) {
    if (team.member + k * team.width >= pieces) continue;
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const float centered = static_cast<float>(sum[k][i]) - mean;
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
    Vec<T, N> sum[K];
    load_sum(a, team, first, from, pieces, sum);
    Moments tile = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
    for (int k = 0; k < K; ++k) {
      if (from + team.member + k * team.width >= pieces) continue;
      tile.count += N;
#pragma unroll
      for (int i = 0; i < N; ++i) {
        tile.total += static_cast<float>(sum[k][i]);
        if constexpr (kCentered) tile.sum += static_cast<float>(sum[k][i]) - pivot;
      }
    }
    if (tile.count == 0.0f) continue;
    const float tile_mean = tile.sum / tile.count;
#pragma unroll
    for (int k = 0; k < K; ++k) {
      if (from + team.member + k * team.width >= pieces) continue;
#pragma unroll
      for (int i = 0; i < N; ++i) {
        const float centered = (static_cast<float>(sum[k][i]) - pivot) - tile_mean;
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
    Vec<T, N> sum[K];
    if (a.sum) {
#pragma unroll
      for (int k = 0; k < K; ++k) {
        const int at = from + team.member + k * team.width;
        if (at < pieces) sum[k] = load<N>(a.sum + first + int64_t{at} * N);
      }
    } else {
      load_sum(a, team, first, from, pieces, sum);
    }
    store_normal(a, team, first, from, pieces, sum, mean, rstd);
  }
}

template <class T>
struct NormBackward {
  const T *dy, *dsum, *sum;
  Parameter weight;
  const float *mean, *rstd;
  T *dx, *dresidual;
  float* partials;  // [blocks, 2, n], null: no parameter wants its gradient
  int64_t rows;
  int n, width;
  Dropout dropout;
};

// The statistics of a row and what its gradient takes from all of it.
struct NormRow {
  float mean, rstd, mean_g, mean_gx, factor;
};

template <bool kCentered, class T>
__device__ __forceinline__ NormRow load_norm_row(const NormBackward<T>& a, int64_t row) {
  NormRow out = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
  if (row >= a.rows) return out;
  if constexpr (kCentered) out.mean = load_constant(a.mean + row)[0];
  out.rstd = load_constant(a.rstd + row)[0];
  // Of a single value the mean takes everything: without this, 1 / sqrt(eps) would scale up a rounding error.
  out.factor = kCentered && a.n == 1 ? 0.0f : out.rstd;
  return out;
}

// Adds sum(g) and sum(g * xhat) of a piece, g = dy * weight; and d * xhat, d to the columns' gradients.
template <bool kCentered, class T, int N>
__device__ __forceinline__ void add_norm_sums(const NormBackward<T>& a, const NormRow& row, const Vec<T, N>& dy, const Vec<T, N>& sum,
                                              const float (&weight)[N], float (&sums)[2], float* dweight, float* dbias) {
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const float d = static_cast<float>(dy[i]), xhat = (static_cast<float>(sum[i]) - row.mean) * row.rstd, g = d * weight[i];
    sums[0] += g;
    sums[1] += g * xhat;
    dweight[i] += d * xhat;
    if constexpr (kCentered) dbias[i] += d;
  }
}

// d = rstd * (g - mean(g) - xhat * mean(g * xhat)) + dsum; dresidual = d, dx = dropout(d).
template <bool kCentered, class T, int N>
__device__ __forceinline__ void store_norm_gradient(const NormBackward<T>& a, const NormRow& row, int64_t element, const Vec<T, N>& dy,
                                                    const Vec<T, N>& sum, const Vec<T, N>& dsum, const float (&weight)[N]) {
  float d[N];
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const float xhat = (static_cast<float>(sum[i]) - row.mean) * row.rstd;
    d[i] = row.factor * (static_cast<float>(dy[i]) * weight[i] - row.mean_g - xhat * row.mean_gx);
    if (a.dsum) d[i] += static_cast<float>(dsum[i]);
  }
  Vec<T, N> out;
  if (a.dresidual) {
#pragma unroll
    for (int i = 0; i < N; ++i) out[i] = T(d[i]);
    store(a.dresidual + element, out);
  }
  if (!a.dx) return;
  if (a.dropout.drops()) a.dropout.apply(element, d);
#pragma unroll
  for (int i = 0; i < N; ++i) out[i] = T(d[i]);
  store(a.dx + element, out);
}

// A thread keeps its columns over all rows of its block, and their gradients in registers.
template <bool kCentered, class T, int N, int K, bool kBlock>
__global__ void __launch_bounds__(kBlock ? kBlockRowThreads : kLaneRowThreads, kBlock ? 1 : 3)
    norm_backward(const __grid_constant__ NormBackward<T> a) {
  const RowTeam<kBlock> team(a.width);
  const int row_pieces = a.n / N;
  float dweight[K * N], dbias[kCentered ? K * N : N];
#pragma unroll
  for (float& value : dweight) value = 0.0f;
#pragma unroll
  for (float& value : dbias) value = 0.0f;
  for (int64_t base = int64_t{blockIdx.x} * team.slots(); base < a.rows; base += int64_t{gridDim.x} * team.slots()) {
    const int64_t row = base + team.slot, first = row * a.n;
    const int pieces = row < a.rows ? row_pieces : 0;
    NormRow statistics = load_norm_row<kCentered>(a, row);
    Vec<T, N> dy[K], sum[K], dsum[K];
    load_tile(team, a.dy + first, 0, pieces, dy);
    load_tile(team, a.sum + first, 0, pieces, sum);
    if (a.dsum) load_tile(team, a.dsum + first, 0, pieces, dsum);
    float sums[2] = {0.0f, 0.0f};
#pragma unroll
    for (int k = 0; k < K; ++k) {
      const int at = team.member + k * team.width;
      if (at >= pieces) continue;
      float weight[N];
      a.weight.template load<T>(int64_t{at} * N, 1.0f, weight);
      add_norm_sums<kCentered>(a, statistics, dy[k], sum[k], weight, sums, dweight + k * N, dbias + (kCentered ? k * N : 0));
    }
    if (!a.dx && !a.dresidual) continue;
    team.template reduce<Add>(sums);
    statistics.mean_g = kCentered ? sums[0] / static_cast<float>(a.n) : 0.0f;
    statistics.mean_gx = sums[1] / static_cast<float>(a.n);
#pragma unroll
    for (int k = 0; k < K; ++k) {
      const int at = team.member + k * team.width;
      if (at >= pieces) continue;
      float weight[N];
      a.weight.template load<T>(int64_t{at} * N, 1.0f, weight);
      store_norm_gradient<kCentered>(a, statistics, first + int64_t{at} * N, dy[k], sum[k], dsum[k], weight);
    }
  }
  if (!a.partials) return;
  // Rows that share a warp or a block, in a fixed order.
  float* const partial = a.partials + int64_t{blockIdx.x} * 2 * a.n;
  float* const joined = kBlock ? partial : dynamic_smem<float>();
  if constexpr (!kBlock) {
#pragma unroll
    for (int lanes = kWarpSize / 2; lanes > 0; lanes /= 2) {
      if (lanes < team.width) continue;
#pragma unroll
      for (float& value : dweight) value += __shfl_xor_sync(kFullMask, value, lanes);
      if constexpr (kCentered) {
#pragma unroll
        for (float& value : dbias) value += __shfl_xor_sync(kFullMask, value, lanes);
      }
    }
  }
  for (int warp = 0; warp < (kBlock ? 1 : kLaneRowThreads / kWarpSize); ++warp) {
    if (kBlock || (static_cast<int>(threadIdx.x) / kWarpSize == warp && static_cast<int>(threadIdx.x) % kWarpSize < team.width)) {
#pragma unroll
      for (int k = 0; k < K; ++k) {
        const int at = team.member + k * team.width;
        if (at >= row_pieces) continue;
#pragma unroll
        for (int i = 0; i < N; ++i) {
          float* const to = joined + at * N + i;
          to[0] = warp == 0 ? dweight[k * N + i] : to[0] + dweight[k * N + i];
          if constexpr (kCentered) to[a.n] = warp == 0 ? dbias[k * N + i] : to[a.n] + dbias[k * N + i];
        }
      }
    }
    if constexpr (!kBlock) __syncthreads();
  }
  if constexpr (!kBlock)
    for (int i = threadIdx.x; i < (kCentered ? 2 : 1) * a.n; i += kLaneRowThreads) store_float(partial + i, joined[i]);
}

// Rows whose columns no block can keep: read twice, the columns' gradients in the block's part of scratch memory.
template <bool kCentered, class T, int N, int K>
__global__ void __launch_bounds__(kBlockRowThreads) norm_backward_tiles(const __grid_constant__ NormBackward<T> a) {
  const RowTeam<true> team(a.width);
  const int pieces = a.n / N;
  float* const partial = a.partials + int64_t{blockIdx.x} * 2 * a.n;
  for (int64_t row = blockIdx.x; row < a.rows; row += gridDim.x) {
    const int64_t first = row * a.n;
    NormRow statistics = load_norm_row<kCentered>(a, row);
    float sums[2] = {0.0f, 0.0f};
    for (int from = 0; from < pieces; from += K * team.width) {
      Vec<T, N> dy[K], sum[K];
      load_tile(team, a.dy + first, from, pieces, dy);
      load_tile(team, a.sum + first, from, pieces, sum);
#pragma unroll
      for (int k = 0; k < K; ++k) {
        const int at = from + team.member + k * team.width;
        if (at >= pieces) continue;
        float weight[N], dweight[N], dbias[N];
#pragma unroll
        for (int i = 0; i < N; ++i) dweight[i] = dbias[i] = 0.0f;
        a.weight.template load<T>(int64_t{at} * N, 1.0f, weight);
        add_norm_sums<kCentered>(a, statistics, dy[k], sum[k], weight, sums, dweight, dbias);
        if (!a.partials) continue;
#pragma unroll
        for (int i = 0; i < N; ++i) {
          float* const to = partial + int64_t{at} * N + i;
          const bool begins = row == static_cast<int64_t>(blockIdx.x);
          store_float(to, begins ? dweight[i] : load_float(to) + dweight[i]);
          if constexpr (kCentered) store_float(to + a.n, begins ? dbias[i] : load_float(to + a.n) + dbias[i]);
        }
      }
    }
    if (!a.dx && !a.dresidual) continue;
    team.template reduce<Add>(sums);
    statistics.mean_g = kCentered ? sums[0] / static_cast<float>(a.n) : 0.0f;
    statistics.mean_gx = sums[1] / static_cast<float>(a.n);
    for (int from = 0; from < pieces; from += K * team.width) {
      Vec<T, N> dy[K], sum[K], dsum[K];
      load_tile(team, a.dy + first, from, pieces, dy);
      load_tile(team, a.sum + first, from, pieces, sum);
      if (a.dsum) load_tile(team, a.dsum + first, from, pieces, dsum);
#pragma unroll
      for (int k = 0; k < K; ++k) {
        const int at = from + team.member + k * team.width;
        if (at >= pieces) continue;
        float weight[N];
        a.weight.template load<T>(int64_t{at} * N, 1.0f, weight);
        store_norm_gradient<kCentered>(a, statistics, first + int64_t{at} * N, dy[k], sum[k], dsum[k], weight);
      }
    }
  }
}

template <class T>
T* pointer(const View& view) {
  return view ? view.as<T>() : nullptr;
}

// RMS norm has no bias and no mean: absent views.
struct NormForwardViews {
  const View &x, &residual, &weight, bias, &y, &sum, mean, &rstd;
  float eps;
  Dropout dropout;
};

struct NormBackwardViews {
  const View &dy, &dsum, &sum, &weight, mean, &rstd, &dx, &dresidual, &dweight, dbias;
  Dropout dropout;
};

inline Status too_large(const View& x) { return unsupported("a norm of " + x.shape_string()); }

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

template <bool kCentered>
Status run_norm_backward(Context& context, const NormBackwardViews& a) {
  const int64_t n = a.sum.last(), rows = a.sum.rows();
  if (n == 0 || rows == 0) return Status::ok();
  if (rows > 0x7fffffff || n > 0x3fffffff) return too_large(a.sum);
  const Gpu& gpu = gpu_of(context);
  return dispatch_float(a.sum.dtype, [&](auto type) {
    using T = decltype(type);
    constexpr int N = kVector<T>, K = kNormColumns / N;
    const View* views[] = {&a.dy, &a.dsum, &a.sum, &a.weight, &a.dx, &a.dresidual};
    bool aligned = true;
    for (const View* view : views) aligned = aligned && (!*view || aligned16(view->data));
    const RowPlan plan(n, sizeof(T), K, aligned);
    // Enough blocks to fill the device several times over, few enough that their partial sums are small beside the rows.
    const int64_t teams = plan.grid(rows).x;
    const int64_t resident = int64_t{gpu.multiprocessors} * max(1, 1024 / plan.threads());
    const int64_t least = (teams + 3) / 4;
    const int64_t blocks = min(least, resident);
    const bool parameters = a.dweight || a.dbias;
    void* partials = nullptr;
    if (parameters) TILEWISE_RETURN_IF_ERROR(context.scratch(static_cast<size_t>(blocks * 2 * n) * sizeof(float), &partials));
    const NormBackward<T> p{a.dy.as<const T>(),
                            pointer<const T>(a.dsum),
                            a.sum.as<const T>(),
                            Parameter(a.weight),
                            pointer<const float>(a.mean),
                            a.rstd.as<const float>(),
                            pointer<T>(a.dx),
                            pointer<T>(a.dresidual),
                            static_cast<float*>(partials),
                            rows,
                            static_cast<int>(n),
                            plan.width,
                            a.dropout};
    using Kind = RowPlan::Kind;
    const auto kernel = plan.kind == Kind::lanes   ? norm_backward<kCentered, T, N, K, false>
                        : plan.kind == Kind::block ? norm_backward<kCentered, T, N, K, true>
                        : plan.kind == Kind::tiles ? norm_backward_tiles<kCentered, T, N, K>
                                                   : norm_backward_tiles<kCentered, T, 1, kScalarPieces>;
    const LaunchShape shape{kCentered ? "layer_norm_backward" : "rms_norm_backward", dim3(static_cast<unsigned>(blocks)),
                            dim3(static_cast<unsigned>(plan.threads())),
                            plan.kind == Kind::lanes ? static_cast<size_t>(2 * n) * sizeof(float) : 0};
    TILEWISE_RETURN_IF_ERROR(launch(gpu, shape, kernel, p));
    if (!parameters) return Status::ok();
    return collect_partial_sums(
        gpu, {static_cast<const float*>(partials), static_cast<int>(blocks), n, {pointer<float>(a.dweight), pointer<float>(a.dbias)}});
  });
}

}  // namespace
}  // namespace tilewise::TILEWISE_GPU
