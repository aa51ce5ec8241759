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

template <class T>
__global__ void __launch_bounds__(kThreads) drop(const T* x, T* y, int64_t count, bool vectors, Draw draw) {
  constexpr int N = kVector<T>;
  const int64_t first = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * N;
  if (first >= count) return;
  uint32_t words[N];
  random_words(draw.seed, draw.counter, static_cast<uint64_t>(first), words);
  if (vectors && first + N <= count) {
    Vec<T, N> values = load<N>(x + first);
#pragma unroll
    for (int i = 0; i < N; ++i) values[i] = T(random::value_if(random::keep(words[i], draw.p), draw.kept * static_cast<float>(values[i])));
    store(y + first, values);
    return;
  }
#pragma unroll
  for (int i = 0; i < N; ++i)
    if (first + i < count)
      store_float(y + first + i, random::value_if(random::keep(words[i], draw.p), draw.kept * load_float(x + first + i)));
}

}  // namespace

Status dropout(Context& context, const dropout_args& a) {
  const int64_t count = a.y.count();
  return dispatch_float(a.x.dtype, [&](auto type) {
    using T = decltype(type);
    constexpr int64_t kPerBlock = kThreads * kVector<T>;
    const int64_t blocks = (count + kPerBlock - 1) / kPerBlock;
    if (blocks > 0x7fffffff) return unsupported("dropout of " + std::to_string(count) + " elements");
    const LaunchShape shape{"dropout", dim3(static_cast<unsigned>(blocks)), dim3(kThreads)};
    const Draw draw{a.seed, a.counter, a.p, 1.0f / (1.0f - a.p)};
    return launch(gpu_of(context), shape, drop<T>, a.x.as<const T>(), a.y.as<T>(), count, aligned16(a.x.data) && aligned16(a.y.data), draw);
  });
}

}  // namespace tilewise::TILEWISE_GPU
