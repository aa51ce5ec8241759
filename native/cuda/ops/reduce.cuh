// Sums, means, maxima and minima over any dimensions, accumulated in f32. kind numbers: lib/ops/reduce.ts. y is contiguous.
#include "../prim/elementwise.cuh"
#include "../prim/reduce.cuh"

namespace tilewise::TILEWISE_GPU {
namespace {

enum class Kind : int32_t { sum, mean, maximum, minimum };

// One side of the index space split into kept and reduced dimensions, innermost first.
struct Side {
  int rank = 0;
  int64_t count = 1;
  int64_t dims[kMaxRank];
  int64_t strides[kMaxRank];

  __device__ __forceinline__ int64_t offset(int64_t index) const {
    int64_t out = 0;
    for (int i = 0; i < rank; ++i) {
      const int64_t at = i + 1 < rank ? index % dims[i] : index;
      index = i + 1 < rank ? index / dims[i] : 0;
      out += at * strides[i];
    }
    return out;
  }
  void push(int64_t size, int64_t stride) {
    count *= size;
    if (size == 1) return;
    if (rank > 0 && stride == strides[rank - 1] * dims[rank - 1]) {
      dims[rank - 1] *= size;
      return;
    }
    dims[rank] = size;
    strides[rank++] = stride;
  }
};

constexpr int kThreads = 256;

// A block an output: the reduced elements are neighbours in memory.
template <class F, class T>
__global__ void __launch_bounds__(kThreads)
    reduce_rows(const T* x, T* y, const __grid_constant__ Side kept, const __grid_constant__ Side reduced, float scale) {
  const T* base = x + kept.offset(blockIdx.x);
  float value = F::start();
  for (int64_t i = threadIdx.x; i < reduced.count; i += kThreads) value = F::join(value, load_float(base + reduced.offset(i)));
  value = block_reduce<F>(value);
  if (threadIdx.x == 0) store_float(y + blockIdx.x, value * scale);
}

// Eight rows of 32 outputs at a time: the kept elements are neighbours in memory.
template <class F, class T>
__global__ void __launch_bounds__(kThreads)
    reduce_columns(const T* x, T* y, const __grid_constant__ Side kept, const __grid_constant__ Side reduced, float scale) {
  SHARED_ARRAY(float, partial, kThreads);
  const int lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize;
  const int64_t column = int64_t{blockIdx.x} * kWarpSize + lane;
  float value = F::start();
  if (column < kept.count) {
    const T* base = x + kept.offset(column);
    for (int64_t i = warp; i < reduced.count; i += kThreads / kWarpSize) value = F::join(value, load_float(base + reduced.offset(i)));
  }
  partial[threadIdx.x] = value;
  __syncthreads();
  if (warp != 0 || column >= kept.count) return;
  for (int i = 1; i < kThreads / kWarpSize; ++i) value = F::join(value, partial[i * kWarpSize + lane]);
  store_float(y + column, value * scale);
}

template <class F, class T>
Status run(Context& context, const reduce_args& a, const Side& kept, const Side& reduced, float scale) {
  if (kept.count == 0) return Status::ok();
  const bool columns = kept.rank > 0 && kept.strides[0] == 1 && reduced.count > 1;
  const int64_t blocks = columns ? (kept.count + kWarpSize - 1) / kWarpSize : kept.count;
  if (blocks > 0x7fffffff) return unsupported("a reduction to " + std::to_string(kept.count) + " elements");
  const LaunchShape shape{columns ? "reduce_columns" : "reduce_rows", dim3(static_cast<unsigned>(blocks)), dim3(kThreads)};
  return launch(gpu_of(context), shape, columns ? reduce_columns<F, T> : reduce_rows<F, T>, a.x.as<const T>(), a.y.as<T>(), kept, reduced,
                scale);
}

}  // namespace

Status reduce(Context& context, const reduce_args& a) {
  Side kept, reduced;
  for (int i = a.x.rank - 1; i >= 0; --i) (a.dims >> i & 1 ? reduced : kept).push(a.x.dims[i], a.x.strides[i]);
  return dispatch_float(a.x.dtype, [&](auto type) {
    using T = decltype(type);
    switch (static_cast<Kind>(a.kind)) {
      case Kind::maximum:
        return run<Max, T>(context, a, kept, reduced, 1.0f);
      case Kind::minimum:
        return run<Min, T>(context, a, kept, reduced, 1.0f);
      case Kind::mean:  // of nothing is NaN, as in PyTorch
        return run<Add, T>(context, a, kept, reduced, 1.0f / static_cast<float>(reduced.count));
      case Kind::sum:
        break;
    }
    return run<Add, T>(context, a, kept, reduced, 1.0f);
  });
}

}  // namespace tilewise::TILEWISE_GPU
