// y = x / (1 - p) where element i of draw (seed, counter) is kept, else 0. Its own backward, applied to dy.
#include "../prim/dispatch.h"
#include "../prim/random.cuh"
#include "../prim/vector.cuh"

namespace tilewise::TILEWISE_GPU {
namespace {

constexpr int kThreads = 256;

struct Draw {
  uint64_t seed, counter;
  float p, kept;
};

constexpr int kPieces = 2;  // of 16 bytes that a thread asks for at once

template <class T, int N>
__device__ __forceinline__ void drop_piece(T* y, int64_t first, Vec<T, N> values, const Draw& draw) {
  uint32_t words[N];
  random_words(draw.seed, draw.counter, static_cast<uint64_t>(first), words);
#pragma unroll
  for (int i = 0; i < N; ++i) values[i] = T(random::value_if(random::keep(words[i], draw.p), draw.kept * static_cast<float>(values[i])));
  store(y + first, values);
}

template <class T>
__global__ void __launch_bounds__(kThreads) drop(const T* x, T* y, int64_t count, bool vectors, Draw draw) {
  constexpr int N = kVector<T>;
  int64_t first = (int64_t{blockIdx.x} * kThreads * kPieces + threadIdx.x) * N;
  Packed<T, N> values[kPieces];
#pragma unroll
  for (int k = 0; k < kPieces; ++k)
    if (vectors && first + (k * kThreads + 1) * N <= count) values[k] = load_packed<N>(x + first + k * kThreads * N);
#pragma unroll 1
  for (int k = 0; k < kPieces && first < count; ++k, first += kThreads * N) {
    if (vectors && first + N <= count) {
      drop_piece(y, first, values[0].unpack(), draw);
      rotate(values);
      continue;
    }
    uint32_t words[N];
    random_words(draw.seed, draw.counter, static_cast<uint64_t>(first), words);
#pragma unroll
    for (int i = 0; i < N; ++i)
      if (first + i < count)
        store_float(y + first + i, random::value_if(random::keep(words[i], draw.p), draw.kept * load_float(x + first + i)));
  }
}

}  // namespace

Status dropout(Context& context, const dropout_args& a) {
  const int64_t count = a.y.count();
  return dispatch_float(a.x.dtype, [&](auto type) {
    using T = decltype(type);
    constexpr int64_t kPerBlock = kThreads * kPieces * kVector<T>;
    const int64_t blocks = (count + kPerBlock - 1) / kPerBlock;
    if (blocks > 0x7fffffff) return unsupported("dropout of " + std::to_string(count) + " elements");
    const LaunchShape shape{"dropout", dim3(static_cast<unsigned>(blocks)), dim3(kThreads)};
    const Draw draw{a.seed, a.counter, a.p, 1.0f / (1.0f - a.p)};
    return launch(gpu_of(context), shape, drop<T>, a.x.as<const T>(), a.y.as<T>(), count, aligned16(a.x.data) && aligned16(a.y.data), draw);
  });
}

}  // namespace tilewise::TILEWISE_GPU
