// y = f(x…), element by element. Contiguous tensors go in 16-byte pieces; anything else by strides over merged dimensions. f is a struct
// with `__device__ Y operator()(X…) const`, given by value; one that does different things by a number takes whole vectors, so that there
// is one branch for all their elements: `static constexpr bool kVectors = true` and `void operator()(Vec<Y, N>& y, Vec<X, N>…) const`.
#pragma once
#include <utility>

#include "dispatch.h"
#include "vector.cuh"

namespace tilewise::TILEWISE_GPU {

// The common index space of K views, innermost dimension first. A view of size 1 in a dimension has stride 0 there.
template <int K>
struct Loop {
  int rank = 0;
  int64_t count = 1;
  int64_t dims[kMaxRank];
  int64_t strides[K][kMaxRank];

  // shape: the view whose dims are the index space; the others broadcast to it (right-aligned).
  Loop(const View& shape, const View* const (&views)[K]) {
    for (int i = shape.rank - 1; i >= 0; --i) {
      const int64_t size = shape.dims[i];
      count *= size;
      if (size == 1) continue;
      int64_t step[K];
      for (int k = 0; k < K; ++k) {
        const int at = i - (shape.rank - views[k]->rank);
        step[k] = at < 0 || views[k]->dims[at] == 1 ? 0 : views[k]->strides[at];
      }
      bool merges = rank > 0;
      for (int k = 0; k < K && merges; ++k) merges = step[k] == strides[k][rank - 1] * dims[rank - 1];
      if (merges) {
        dims[rank - 1] *= size;
        continue;
      }
      dims[rank] = size;
      for (int k = 0; k < K; ++k) strides[k][rank] = step[k];
      ++rank;
    }
    if (rank == 0) {
      rank = 1;
      dims[0] = 1;
      for (int k = 0; k < K; ++k) strides[k][0] = 0;
    }
  }

  bool contiguous() const {
    for (int k = 0; k < K; ++k)
      if (rank != 1 || (strides[k][0] != 1 && count > 1)) return false;
    return true;
  }

  __device__ __forceinline__ void offsets(int64_t index, int64_t (&out)[K]) const {
    for (int k = 0; k < K; ++k) out[k] = 0;
    for (int i = 0; i < rank; ++i) {
      const int64_t at = i + 1 < rank ? index % dims[i] : index;
      index = i + 1 < rank ? index / dims[i] : 0;
      for (int k = 0; k < K; ++k) out[k] += at * strides[k][i];
    }
  }
};

constexpr int kElementwiseThreads = 256;

template <class F, class = void>
constexpr bool kTakesVectors = false;
template <class F>
constexpr bool kTakesVectors<F, std::void_t<decltype(F::kVectors)>> = true;

template <int N, class Y, class F, class... X>
__device__ __forceinline__ Vec<Y, N> apply(F f, const Vec<X, N>&... x) {
  Vec<Y, N> y;
  if constexpr (kTakesVectors<F>) {
    f(y, x...);
  } else {
#pragma unroll
    for (int i = 0; i < N; ++i) y[i] = Y(f(x[i]...));
  }
  return y;
}

template <int N, class F, class Y, class... X>
__global__ void __launch_bounds__(kElementwiseThreads) map_contiguous(F f, int64_t count, Y* y, const X*... x) {
  const int64_t first = (int64_t{blockIdx.x} * kElementwiseThreads + threadIdx.x) * N;
  if (first + N <= count) {
    store(y + first, apply<N, Y>(f, load<N>(x + first)...));
  } else {
    for (int64_t i = first; i < count; ++i) store(y + i, apply<1, Y>(f, load<1>(x + i)...));
  }
}

template <class F, class Y, class... X, size_t... K>
__device__ __forceinline__ void map_one(F f, const int64_t* at, std::index_sequence<K...>, Y* y, const X*... x) {
  store(y + at[0], apply<1, Y>(f, load<1>(x + at[1 + K])...));
}

template <class F, class Y, class... X>
__global__ void __launch_bounds__(kElementwiseThreads)
    map_strided(F f, const __grid_constant__ Loop<1 + sizeof...(X)> loop, Y* y, const X*... x) {
  const int64_t index = int64_t{blockIdx.x} * kElementwiseThreads + threadIdx.x;
  if (index >= loop.count) return;
  int64_t at[1 + sizeof...(X)];
  loop.offsets(index, at);
  map_one(f, at, std::index_sequence_for<X...>{}, y, x...);
}

constexpr size_t widest(size_t a) { return a; }
template <class... Rest>
constexpr size_t widest(size_t a, size_t b, Rest... rest) {
  return widest(a > b ? a : b, rest...);
}

// The inputs broadcast to y. X and Y are the element types of the views, in the order y, x….
template <class Y, class... X, class F, class... V>
Status map(Context& context, const char* name, F f, const View& y, const V&... x) {
  static_assert(sizeof...(X) == sizeof...(V));
  const Loop<1 + sizeof...(X)> loop(y, {&y, &x...});
  if (loop.count == 0) return Status::ok();
  const Gpu& gpu = gpu_of(context);
  constexpr int N = static_cast<int>(16 / widest(sizeof(Y), sizeof(X)...));
  const bool vectors = loop.contiguous() && aligned16(y.data) && (aligned16(x.data) && ...);
  const int64_t pieces = vectors ? (loop.count + N - 1) / N : loop.count;
  const int64_t blocks = (pieces + kElementwiseThreads - 1) / kElementwiseThreads;
  if (blocks > 0x7fffffff) return unsupported(std::string(name) + " of " + std::to_string(loop.count) + " elements");
  const LaunchShape shape{name, dim3(static_cast<unsigned>(blocks)), dim3(kElementwiseThreads)};
  if (vectors) return launch(gpu, shape, map_contiguous<N, F, Y, X...>, f, loop.count, y.template as<Y>(), x.template as<const X>()...);
  return launch(gpu, shape, map_strided<F, Y, X...>, f, loop, y.template as<Y>(), x.template as<const X>()...);
}

}  // namespace tilewise::TILEWISE_GPU
