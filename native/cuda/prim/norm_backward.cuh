// Gradients of layer norm and RMS norm: of the rows, and of the parameters by partial sums of blocks.
#pragma once
#include "../ptx/copy_async.cuh"
#include "norm_row.cuh"
#include "partial_sums.cuh"

namespace tilewise::TILEWISE_GPU {
namespace {

// Elements whose parameters' gradients a thread of a block holds; 16-byte pieces of a row whose parameters' gradients a lane of a warp
// does: more, as warps that need no block for a row leave fewer partial sums.
constexpr int kNormColumns = 16, kNormLanePieces = 4;
// Warps that a multiprocessor has registers for.
constexpr int kNormBackwardWarps = 16;
// Bytes of shared memory that a block's reductions take.
constexpr size_t kReduceShared = 1024;

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
  float mean, rstd, mean_g, mean_gx;
};

template <bool kCentered, class T>
__device__ __forceinline__ NormRow load_norm_row(const NormBackward<T>& a, int64_t row) {
  NormRow out = {0.0f, 0.0f, 0.0f, 0.0f};
  if (row >= a.rows) return out;
  if constexpr (kCentered) out.mean = load_constant(a.mean + row)[0];
  out.rstd = load_constant(a.rstd + row)[0];
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
  // Of a single value the mean takes everything: without this, 1 / sqrt(eps) would scale up a rounding error.
  const float factor = kCentered && a.n == 1 ? 0.0f : row.rstd;
  float d[N];
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const float xhat = (static_cast<float>(sum[i]) - row.mean) * row.rstd;
    d[i] = factor * (static_cast<float>(dy[i]) * weight[i] - row.mean_g - xhat * row.mean_gx);
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

// Each team's next row comes into shared memory while it works on one: asynchronous copies need no registers, and are under way all the
// time. A thread reads what it has copied itself, so that its own wait is enough.
template <class T, int N, int K, class Team>
struct NormStage {
  enum Tensor { dy, sum, dsum };
  Vec<T, N>* memory;  // [2, tensors, K, threads]
  int tensors;

  __device__ __forceinline__ Vec<T, N>* at(int stage, Tensor tensor, int k) const {
    return memory + ((stage * tensors + tensor) * K + k) * static_cast<int>(blockDim.x) + threadIdx.x;
  }
  __device__ __forceinline__ void copy(const NormBackward<T>& a, const Team& team, int64_t row, int stage) const {
    const int pieces = row < a.rows ? a.n / N : 0;
#pragma unroll
    for (int k = 0; k < K; ++k) {
      const int piece = team.member + k * team.width;
      if (piece >= pieces) continue;
      const int64_t element = row * a.n + int64_t{piece} * N;
      copy_async<16>(at(stage, dy, k), a.dy + element);
      copy_async<16>(at(stage, sum, k), a.sum + element);
      if (a.dsum) copy_async<16>(at(stage, dsum, k), a.dsum + element);
    }
    copy_async_commit();
  }
};

// A thread keeps its columns over all rows of its block, and their gradients in registers.
template <bool kCentered, class T, int N, int K, bool kBlock>
__global__ void __launch_bounds__(kBlock ? kBlockRowThreads : kLaneRowThreads,
                                  kNormBackwardWarps* kWarpSize / (kBlock ? kBlockRowThreads : kLaneRowThreads))
    norm_backward(const __grid_constant__ NormBackward<T> a) {
  const RowTeam<kBlock> team(a.width);
  const int row_pieces = a.n / N;
  float dweight[K * N], dbias[kCentered ? K * N : N];
#pragma unroll
  for (float& value : dweight) value = 0.0f;
#pragma unroll
  for (float& value : dbias) value = 0.0f;
  // In front of the stages: where a block's warps join their columns.
  float* const shared = dynamic_smem<float>();
  using Stage = NormStage<T, N, K, RowTeam<kBlock>>;
  const Stage rows{reinterpret_cast<Vec<T, N>*>(shared + (kBlock ? 0 : 2 * a.n)), a.dsum ? 3 : 2};
  const int64_t step = int64_t{gridDim.x} * team.slots();
  int64_t base = int64_t{blockIdx.x} * team.slots();
  rows.copy(a, team, base + team.slot, 0);
  NormRow next = load_norm_row<kCentered>(a, base + team.slot);
  for (int stage = 0; base < a.rows; base += step, stage ^= 1) {
    const int64_t row = base + team.slot, first = row * a.n;
    const int pieces = row < a.rows ? row_pieces : 0;
    NormRow statistics = next;
    next = load_norm_row<kCentered>(a, row + step);
    rows.copy(a, team, row + step, stage ^ 1);
    copy_async_wait<1>();
    float sums[2] = {0.0f, 0.0f};
#pragma unroll
    for (int k = 0; k < K; ++k) {
      const int at = team.member + k * team.width;
      if (at >= pieces) continue;
      float weight[N];
      a.weight.template load<T>(int64_t{at} * N, 1.0f, weight);
      add_norm_sums<kCentered>(a, statistics, load_shared<N>(rows.at(stage, Stage::dy, k)->data),
                               load_shared<N>(rows.at(stage, Stage::sum, k)->data), weight, sums, dweight + k * N,
                               dbias + (kCentered ? k * N : 0));
    }
    if (!a.dx && !a.dresidual) continue;
    team.template reduce<Add>(sums);
    statistics.mean_g = kCentered ? sums[0] / static_cast<float>(a.n) : 0.0f;
    statistics.mean_gx = sums[1] / static_cast<float>(a.n);
#pragma unroll 1
    for (int k = 0; k < K; ++k) {
      const int at = team.member + k * team.width;
      if (at >= pieces) continue;
      float weight[N];
      a.weight.template load<T>(int64_t{at} * N, 1.0f, weight);
      Vec<T, N> dsum = {};
      if (a.dsum) dsum = load_shared<N>(rows.at(stage, Stage::dsum, k)->data);
      store_norm_gradient<kCentered>(a, statistics, first + int64_t{at} * N, load_shared<N>(rows.at(stage, Stage::dy, k)->data),
                                     load_shared<N>(rows.at(stage, Stage::sum, k)->data), dsum, weight);
    }
  }
  if (!a.partials) return;
  // Rows that share a warp or a block, in a fixed order.
  float* const partial = a.partials + int64_t{blockIdx.x} * 2 * a.n;
  float* const joined = kBlock ? partial : shared;
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

// Without a bias and a mean, as in RMS norm: absent views.
struct NormBackwardViews {
  const View &dy, &dsum, &sum, &weight, mean, &rstd, &dx, &dresidual, &dweight, dbias;
  Dropout dropout;
};

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
    using Kind = RowPlan::Kind;
    RowPlan plan(n, sizeof(T), kNormLanePieces, aligned);
    if (plan.kind != Kind::lanes) plan = RowPlan(n, sizeof(T), K, aligned);
    // Two rows a team, and where a block's warps join their columns.
    const bool lanes = plan.kind == Kind::lanes;
    size_t shared = size_t{2 * 16} * (a.dsum ? 3 : 2) * (lanes ? kNormLanePieces : K) * static_cast<size_t>(plan.threads());
    if (lanes) shared += static_cast<size_t>(2 * n) * sizeof(float);
    if (plan.kind == Kind::block && shared + kReduceShared > gpu.shared_per_block) plan.kind = Kind::tiles;
    // Enough blocks to fill the device, few enough that their partial sums are small beside the rows.
    const int64_t teams = plan.grid(rows).x;
    const int64_t resident = int64_t{gpu.multiprocessors} * max(1, kNormBackwardWarps * kWarpSize / plan.threads());
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
    const auto kernel = lanes                      ? norm_backward<kCentered, T, N, kNormLanePieces, false>
                        : plan.kind == Kind::block ? norm_backward<kCentered, T, N, K, true>
                        : plan.kind == Kind::tiles ? norm_backward_tiles<kCentered, T, N, K>
                                                   : norm_backward_tiles<kCentered, T, 1, kScalarPieces>;
    const LaunchShape shape{kCentered ? "layer_norm_backward" : "rms_norm_backward", dim3(static_cast<unsigned>(blocks)),
                            dim3(static_cast<unsigned>(plan.threads())), lanes || plan.kind == Kind::block ? shared : 0};
    TILEWISE_RETURN_IF_ERROR(launch(gpu, shape, kernel, p));
    if (!parameters) return Status::ok();
    return collect_partial_sums(
        gpu, {static_cast<const float*>(partials), static_cast<int>(blocks), n, {pointer<float>(a.dweight), pointer<float>(a.dbias)}});
  });
}

}  // namespace
}  // namespace tilewise::TILEWISE_GPU
