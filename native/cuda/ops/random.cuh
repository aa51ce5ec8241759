// Tensors of random numbers: the distributions of core/distributions.h.
#include "../../core/distributions.h"
#include "../prim/dispatch.h"
#include "../prim/random.cuh"
#include "../prim/vector.cuh"

namespace tilewise::TILEWISE_GPU {
namespace {

using random::Distribution;

constexpr int kThreads = 256;

template <class T>
__global__ void __launch_bounds__(kThreads)
    draw(T* y, int64_t count, bool vectors, Distribution kind, float a, float b, uint64_t seed, uint64_t counter) {
  constexpr int N = kVector<T>;
  const int64_t first = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * N;
  if (first >= count) return;
  uint32_t words[N];
  random_words(seed, counter, static_cast<uint64_t>(first), words);
  float values[N];
  if (kind == Distribution::uniform) {
#pragma unroll
    for (int i = 0; i < N; ++i) values[i] = random::uniform_between(words[i], a, b);
  } else if (kind == Distribution::truncated) {
#pragma unroll
    for (int i = 0; i < N; ++i) values[i] = random::truncated_normal(words[i], a, b);
  } else {
#pragma unroll
    for (int i = 0; i < N; i += 2) random::normal_pair(words[i], words[i + 1], a, b, &values[i], &values[i + 1]);
  }
  if (vectors && first + N <= count) {
    Vec<T, N> out;
#pragma unroll
    for (int i = 0; i < N; ++i) out[i] = T(values[i]);
    store(y + first, out);
    return;
  }
#pragma unroll
  for (int i = 0; i < N; ++i)
    if (first + i < count) store_float(y + first + i, values[i]);
}

}  // namespace

Status random(Context& context, const random_args& a) {
  const auto kind = static_cast<Distribution>(a.kind);
  if (kind < Distribution::uniform || kind > Distribution::truncated)
    return Status::error(Code::invalid_argument, "random kind " + std::to_string(a.kind));
  const int64_t count = a.y.count();
  return dispatch_float(a.y.dtype, [&](auto type) {
    using T = decltype(type);
    constexpr int64_t kPerBlock = kThreads * kVector<T>;
    const int64_t blocks = (count + kPerBlock - 1) / kPerBlock;
    if (blocks > 0x7fffffff) return unsupported("random numbers for " + std::to_string(count) + " elements");
    const LaunchShape shape{"random", dim3(static_cast<unsigned>(blocks)), dim3(kThreads)};
    return launch(gpu_of(context), shape, draw<T>, a.y.as<T>(), count, aligned16(a.y.data), kind, a.a, a.b, a.seed, a.counter);
  });
}

}  // namespace tilewise::TILEWISE_GPU
