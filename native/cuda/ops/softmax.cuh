// Softmax and its logarithm over the last dimension, in f32. A row of -inf gives zeros (log: -inf) and the gradient 0.
#include "../prim/softmax.cuh"

namespace tilewise::TILEWISE_GPU {
namespace {

constexpr int kPieces = 4;  // of 16 bytes that a thread holds

template <class T>
struct Forward {
  const T* x;
  T* y;
  int64_t rows;
  int n, width;
  float scale;
};

// y of a value that lies `below` under the row's maximum. normalizer: the sum's inverse, or its logarithm.
template <bool kLog>
__device__ __forceinline__ float normal(float below, float top, float normalizer) {
  // Subtracting one after the other keeps the digits of x - top where both are large.
  if constexpr (kLog) return top == -INFINITY ? -INFINITY : below - normalizer;
  return top == -INFINITY ? 0.0f : exp_approx(below) * normalizer;
}

template <bool kLog>
__device__ __forceinline__ float normalizer_of(float total) {
  return kLog ? logf(total) : 1.0f / total;
}

template <bool kLog, class T, int N, int K, class Team>
__device__ __forceinline__ void store_tile(const Forward<T>& a, const Team& team, int64_t first, int from, int pieces,
                                           const Packed<T, N> (&x)[K], const Exponentials& row) {
  const float normalizer = normalizer_of<kLog>(row.total);
#pragma unroll
  for (int k = 0; k < K; ++k) {
    const int at = from + team.member + k * team.width;
    if (at >= pieces) continue;
    const Vec<T, N> values = x[k].unpack();
    Vec<T, N> y;
#pragma unroll
    for (int i = 0; i < N; ++i) y[i] = T(normal<kLog>(a.scale * static_cast<float>(values[i]) - row.top, row.top, normalizer));
    store(a.y + first + int64_t{at} * N, y);
  }
}

template <int N, int K, class T, class Team>
__device__ __forceinline__ float tile_max(const Forward<T>& a, const Team& team, int from, int pieces, const Packed<T, N> (&x)[K]) {
  float top = -INFINITY;
#pragma unroll
  for (int k = 0; k < K; ++k) {
    if (from + team.member + k * team.width >= pieces) continue;
    const Vec<T, N> values = x[k].unpack();
#pragma unroll
    for (int i = 0; i < N; ++i) top = Max::join(top, a.scale * static_cast<float>(values[i]));
  }
  return top;
}

// Of exp(value - top).
template <int N, int K, class T, class Team>
__device__ __forceinline__ float tile_total(const Forward<T>& a, const Team& team, int from, int pieces, const Packed<T, N> (&x)[K],
                                            float top) {
  float total = 0.0f;
  if (top == -INFINITY) return total;
#pragma unroll
  for (int k = 0; k < K; ++k) {
    if (from + team.member + k * team.width >= pieces) continue;
    const Vec<T, N> values = x[k].unpack();
#pragma unroll
    for (int i = 0; i < N; ++i) total += exp_approx(a.scale * static_cast<float>(values[i]) - top);
  }
  return total;
}

template <bool kLog, class T, int N, int K, bool kBlock>
__global__ void __launch_bounds__(kBlock ? kBlockRowThreads : kLaneRowThreads, kBlock ? 1 : 4)
    softmax_forward(const __grid_constant__ Forward<T> a) {
  const RowTeam<kBlock> team(a.width);
  const int64_t row = int64_t{blockIdx.x} * team.slots() + team.slot, first = row * a.n;
  const int pieces = row < a.rows ? a.n / N : 0;
  Packed<T, N> x[K];
  load_tile(team, a.x + first, 0, pieces, x);
  const float top = team.template reduce<Max>(tile_max(a, team, 0, pieces, x));
  const float total = team.template reduce<Add>(tile_total(a, team, 0, pieces, x, top));
  store_tile<kLog>(a, team, first, 0, pieces, x, {top, total});
}

template <bool kLog, class T, int N, int K>
__global__ void __launch_bounds__(kBlockRowThreads) softmax_forward_tiles(const __grid_constant__ Forward<T> a) {
  const RowTeam<true> team(a.width);
  const int64_t first = int64_t{blockIdx.x} * a.n;
  const int pieces = a.n / N;
  Packed<T, N> x[K];
  Exponentials row = {-INFINITY, 0.0f};
  for (int from = 0; from < pieces; from += K * team.width) {
    load_tile(team, a.x + first, from, pieces, x);
    const float top = tile_max(a, team, from, pieces, x);
    row.join({top, tile_total(a, team, from, pieces, x, top)});
  }
  const float top = team.template reduce<Max>(row.top);
  row = {top, team.template reduce<Add>(row.total_at(top))};
  for (int from = 0; from < pieces; from += K * team.width) {
    load_tile(team, a.x + first, from, pieces, x);
    store_tile<kLog>(a, team, first, from, pieces, x, row);
  }
}

template <class T>
struct Backward {
  const T *dy, *y;
  T* dx;
  int64_t rows;
  int n, width;
  float scale;
};

// What a row's gradient takes from all of it: softmax sum(dy * y), log: sum(dy); and log's largest y, -inf for a row of -inf.
template <bool kLog, int N, int K, class T, class Team>
__device__ __forceinline__ void add_sums(const Team& team, int from, int pieces, const Packed<T, N> (&dy)[K], const Packed<T, N> (&y)[K],
                                         float& sum, float& top) {
#pragma unroll
  for (int k = 0; k < K; ++k) {
    if (from + team.member + k * team.width >= pieces) continue;
    const Vec<T, N> d = dy[k].unpack(), own = y[k].unpack();
#pragma unroll
    for (int i = 0; i < N; ++i) {
      sum += kLog ? static_cast<float>(d[i]) : static_cast<float>(d[i]) * static_cast<float>(own[i]);
      if constexpr (kLog) top = Max::join(top, static_cast<float>(own[i]));
    }
  }
}

// softmax: dx = scale * y * (dy - sum(dy * y)); log: dx = dy - exp(y) * sum(dy)
template <bool kLog, int N, int K, class T, class Team>
__device__ __forceinline__ void store_gradient(const Backward<T>& a, const Team& team, int64_t first, int from, int pieces,
                                               const Packed<T, N> (&dy)[K], const Packed<T, N> (&y)[K], float sum, float top) {
#pragma unroll
  for (int k = 0; k < K; ++k) {
    const int at = from + team.member + k * team.width;
    if (at >= pieces) continue;
    const Vec<T, N> gradient = dy[k].unpack(), value = y[k].unpack();
    Vec<T, N> dx;
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const float d = static_cast<float>(gradient[i]), own = static_cast<float>(value[i]);
      if constexpr (kLog)
        dx[i] = T(top == -INFINITY ? 0.0f : d - exp_approx(own) * sum);
      else
        dx[i] = T(a.scale * own * (d - sum));
    }
    store(a.dx + first + int64_t{at} * N, dx);
  }
}

template <bool kLog, class T, int N, int K, bool kBlock>
__global__ void __launch_bounds__(kBlock ? kBlockRowThreads : kLaneRowThreads, kBlock ? 1 : 4)
    softmax_backward_rows(const __grid_constant__ Backward<T> a) {
  const RowTeam<kBlock> team(a.width);
  const int64_t row = int64_t{blockIdx.x} * team.slots() + team.slot, first = row * a.n;
  const int pieces = row < a.rows ? a.n / N : 0;
  Packed<T, N> dy[K], y[K];
  load_tile(team, a.dy + first, 0, pieces, dy);
  load_tile(team, a.y + first, 0, pieces, y);
  float sum = 0.0f, top = -INFINITY;
  add_sums<kLog>(team, 0, pieces, dy, y, sum, top);
  sum = team.template reduce<Add>(sum);
  if constexpr (kLog) top = team.template reduce<Max>(top);
  store_gradient<kLog>(a, team, first, 0, pieces, dy, y, sum, top);
}

template <bool kLog, class T, int N, int K>
__global__ void __launch_bounds__(kBlockRowThreads) softmax_backward_tiles(const __grid_constant__ Backward<T> a) {
  const RowTeam<true> team(a.width);
  const int64_t first = int64_t{blockIdx.x} * a.n;
  const int pieces = a.n / N;
  Packed<T, N> dy[K], y[K];
  float sum = 0.0f, top = -INFINITY;
  for (int from = 0; from < pieces; from += K * team.width) {
    load_tile(team, a.dy + first, from, pieces, dy);
    load_tile(team, a.y + first, from, pieces, y);
    add_sums<kLog>(team, from, pieces, dy, y, sum, top);
  }
  sum = team.template reduce<Add>(sum);
  if constexpr (kLog) top = team.template reduce<Max>(top);
  for (int from = 0; from < pieces; from += K * team.width) {
    load_tile(team, a.dy + first, from, pieces, dy);
    load_tile(team, a.y + first, from, pieces, y);
    store_gradient<kLog>(a, team, first, from, pieces, dy, y, sum, top);
  }
}

Status too_large(const View& x) { return unsupported("a softmax of " + x.shape_string()); }

template <bool kLog>
Status forward(Context& context, const View& x, const View& y, float scale) {
  const int64_t n = x.last(), rows = x.rows();
  if (n == 0 || rows == 0) return Status::ok();
  if (rows > 0x7fffffff || n > 0x3fffffff) return too_large(x);
  return dispatch_float(x.dtype, [&](auto type) {
    using T = decltype(type);
    using Kind = RowPlan::Kind;
    constexpr int N = kVector<T>, K = kPieces;
    const RowPlan plan(n, sizeof(T), K, aligned16(x.data) && aligned16(y.data));
    const Forward<T> p{x.as<const T>(), y.as<T>(), rows, static_cast<int>(n), plan.width, scale};
    const auto kernel = plan.kind == Kind::lanes   ? softmax_forward<kLog, T, N, K, false>
                        : plan.kind == Kind::block ? softmax_forward<kLog, T, N, K, true>
                        : plan.kind == Kind::tiles ? softmax_forward_tiles<kLog, T, N, K>
                                                   : softmax_forward_tiles<kLog, T, 1, kScalarPieces>;
    const LaunchShape shape{kLog ? "log_softmax" : "softmax", plan.grid(rows), dim3(static_cast<unsigned>(plan.threads()))};
    return launch(gpu_of(context), shape, kernel, p);
  });
}

template <bool kLog>
Status backward(Context& context, const View& dy, const View& y, const View& dx, float scale) {
  const int64_t n = y.last(), rows = y.rows();
  if (n == 0 || rows == 0) return Status::ok();
  if (rows > 0x7fffffff || n > 0x3fffffff) return too_large(y);
  return dispatch_float(y.dtype, [&](auto type) {
    using T = decltype(type);
    using Kind = RowPlan::Kind;
    constexpr int N = kVector<T>, K = kPieces;
    const RowPlan plan(n, sizeof(T), K, aligned16(dy.data) && aligned16(y.data) && aligned16(dx.data));
    const Backward<T> p{dy.as<const T>(), y.as<const T>(), dx.as<T>(), rows, static_cast<int>(n), plan.width, scale};
    const auto kernel = plan.kind == Kind::lanes   ? softmax_backward_rows<kLog, T, N, K, false>
                        : plan.kind == Kind::block ? softmax_backward_rows<kLog, T, N, K, true>
                        : plan.kind == Kind::tiles ? softmax_backward_tiles<kLog, T, N, K>
                                                   : softmax_backward_tiles<kLog, T, 1, kScalarPieces>;
    const LaunchShape shape{kLog ? "log_softmax_backward" : "softmax_backward", plan.grid(rows),
                            dim3(static_cast<unsigned>(plan.threads()))};
    return launch(gpu_of(context), shape, kernel, p);
  });
}

}  // namespace

Status softmax(Context& context, const softmax_args& a) { return forward<false>(context, a.x, a.y, a.scale); }

Status softmax_backward(Context& context, const softmax_backward_args& a) { return backward<false>(context, a.dy, a.y, a.dx, a.scale); }

Status log_softmax(Context& context, const log_softmax_args& a) { return forward<true>(context, a.x, a.y, 1.0f); }

Status log_softmax_backward(Context& context, const log_softmax_backward_args& a) { return backward<true>(context, a.dy, a.y, a.dx, 1.0f); }

}  // namespace tilewise::TILEWISE_GPU
