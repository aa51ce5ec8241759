// y = f(x…), element by element, by strides over merged dimensions: in 16-byte pieces where the innermost one allows it. f is a struct
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

  // Whether pieces of N elements along the innermost dimension are neighbours in every view that does not repeat one element there, aligned
  // as vectors of them; sizes: of the views' elements. The first view is the one that is written. A single dimension may end within a
  // piece.
  bool allows_vectors(int n, const View* const (&views)[K], const size_t (&sizes)[K]) const {
    if (rank > 1 && dims[0] % n != 0) return false;
    for (int k = 0; k < K; ++k) {
      if (count > 1 && strides[k][0] == 0 && k > 0) continue;
      if (count > 1 && strides[k][0] != 1) return false;
      if (reinterpret_cast<uintptr_t>(views[k]->data) % (n * sizes[k]) != 0) return false;
      for (int i = 1; i < rank; ++i)
        if (strides[k][i] % n != 0) return false;
    }
    return true;
  }

  // Where the element `index` of the index space is in each view.
  __device__ __forceinline__ void offsets(int64_t index, int64_t (&out)[K]) const {
    if (count <= 0x7fffffff)  // a division of 64 bits is some hundred instructions
      walk<uint32_t>(static_cast<uint32_t>(index), out);
    else
      walk<uint64_t>(static_cast<uint64_t>(index), out);
  }

 private:
  template <class Index>
  __device__ __forceinline__ void walk(Index index, int64_t (&out)[K]) const {
#pragma unroll
    for (int k = 0; k < K; ++k) out[k] = 0;
#pragma unroll 1
    for (int i = 0; i + 1 < rank; ++i) {
      const Index size = static_cast<Index>(dims[i]), next = index / size, at = index - next * size;
#pragma unroll
      for (int k = 0; k < K; ++k) out[k] += static_cast<int64_t>(at) * strides[k][i];
      index = next;
    }
#pragma unroll
    for (int k = 0; k < K; ++k) out[k] += static_cast<int64_t>(index) * strides[k][rank - 1];
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

// N elements from here on, or N times this one.
template <int N, class X>
__device__ __forceinline__ Vec<X, N> load_or_repeat(const X* from, int64_t stride) {
  if (N == 1 || stride != 0) return load<N>(from);
  const X one = load<1>(from)[0];
  Vec<X, N> x;
#pragma unroll
  for (int i = 0; i < N; ++i) x[i] = one;
  return x;
}

template <int N, class F, class Y, class... X, size_t... K>
__device__ __forceinline__ void map_piece(F f, const Loop<1 + sizeof...(X)>& loop, int64_t first, std::index_sequence<K...>, Y* y,
                                          const X*... x) {
  int64_t at[1 + sizeof...(X)];
  loop.offsets(first, at);
  if (N == 1 || first + N <= loop.count) {
    store(y + at[0], apply<N, Y>(f, load_or_repeat<N>(x + at[1 + K], loop.strides[1 + K][0])...));
  } else {
    for (int64_t i = 0; first + i < loop.count; ++i)
      store(y + at[0] + i, apply<1, Y>(f, load<1>(x + at[1 + K] + i * loop.strides[1 + K][0])...));
  }
}

// Two pieces of a single input, both asked for before either is used: one is too little under way to keep memory busy (docs/perf.md, "On a
// GPU"). f stands here once for them: it may be a switch over many functions.
template <int N, class F, class Y, class X>
__device__ __forceinline__ void map_pair(F f, const Loop<2>& loop, int64_t first, int64_t second, Y* y, const X* x) {
  int64_t at[2];
  loop.offsets(first, at);
  Packed<X, N> now = load_packed<N>(x + at[1]);
  Y* to = y + at[0];
  loop.offsets(second, at);
  const Packed<X, N> next = load_packed<N>(x + at[1]);
#pragma unroll 1
  for (int piece = 0; piece < 2; ++piece) {
    store(to, apply<N, Y>(f, now.unpack()));
    now = next;
    to = y + at[0];
  }
}

// N elements a piece, along the innermost dimension. The first `paired` blocks have two whole pieces a thread, the others one.
template <int N, class F, class Y, class... X>
__global__ void __launch_bounds__(kElementwiseThreads)
    map_pieces(F f, const __grid_constant__ Loop<1 + sizeof...(X)> loop, int paired, Y* y, const X*... x) {
  const int block = static_cast<int>(blockIdx.x);
  if constexpr (N > 1 && sizeof...(X) == 1) {
    if (block < paired) {
      const int64_t first = (int64_t{block} * 2 * kElementwiseThreads + threadIdx.x) * N;
      map_pair<N>(f, loop, first, first + kElementwiseThreads * N, y, x...);
      return;
    }
  }
  const int64_t first = ((int64_t{block} + paired) * kElementwiseThreads + threadIdx.x) * N;
  if (first < loop.count) map_piece<N>(f, loop, first, std::index_sequence_for<X...>{}, y, x...);
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
  constexpr int N = static_cast<int>(16 / widest(sizeof(Y), sizeof(X)...));
  const bool vectors = loop.allows_vectors(N, {&y, &x...}, {sizeof(Y), sizeof(X)...});
  const int64_t pieces = vectors ? (loop.count + N - 1) / N : loop.count;
  // A repeated element is read once.
  const bool pairs = vectors && N > 1 && sizeof...(X) == 1 && loop.strides[sizeof...(X)][0] != 0;
  const int64_t paired = pairs ? loop.count / (2 * kElementwiseThreads * N) : 0;
  const int64_t blocks = (pieces + kElementwiseThreads - 1) / kElementwiseThreads - paired;
  if (blocks > 0x7fffffff) return unsupported(std::string(name) + " of " + std::to_string(loop.count) + " elements");
  const LaunchShape shape{name, dim3(static_cast<unsigned>(blocks)), dim3(kElementwiseThreads)};
  return launch(gpu_of(context), shape, vectors ? map_pieces<N, F, Y, X...> : map_pieces<1, F, Y, X...>, f, loop, static_cast<int>(paired),
                y.template as<Y>(), x.template as<const X>()...);
}

}  // namespace tilewise::TILEWISE_GPU
