// Tensors of random numbers. Every value depends on its element only: the split over threads and the instruction set do not matter but for
// the last bit.
#include "../../core/distributions.h"
#include "../elementwise.h"

namespace tilewise::cpu::TILEWISE_ISA {
namespace {

using random::Distribution;

// values[i] of `count` words; count is even unless the draw ends with it.
void transform(Distribution kind, const uint32_t* words, int64_t count, float a, float b, float* values) {
  if (kind == Distribution::uniform) {
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) values[i] = random::uniform_between(words[i], a, b);
  } else if (kind == Distribution::truncated) {
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) values[i] = random::truncated_normal(words[i], a, b);
  } else {
#pragma omp simd
    for (int64_t i = 0; i < count; i += 2) random::normal_pair(words[i], words[i + 1], a, b, &values[i], &values[i + 1]);
  }
}

}  // namespace

Status random(Context&, const random_args& a) {
  const auto kind = static_cast<Distribution>(a.kind);
  if (kind < Distribution::uniform || kind > Distribution::truncated)
    return Status::error(Code::invalid_argument, "random kind " + std::to_string(a.kind));
  const int64_t n = a.y.count(), runs = (n + random::kRun - 1) / random::kRun;
  return dispatch_float(a.y.dtype, [&](auto type) {
    using T = decltype(type);
    T* y = a.y.as<T>();
    parallel_for(runs, 8192 / random::kRun, [&](int64_t begin, int64_t end) {
      alignas(64) uint32_t words[random::kRun];
      float values[random::kRun];
      for (int64_t run = begin; run < end; ++run) {
        random::philox_run(a.seed, a.counter, static_cast<uint64_t>(run) * (random::kRun / 4), words);
        transform(kind, words, random::kRun, a.a, a.b, values);
        const int64_t from = run * random::kRun, count = std::min<int64_t>(random::kRun, n - from);
#pragma omp simd
        for (int64_t i = 0; i < count; ++i) y[from + i] = T(values[i]);
      }
    });
    return Status::ok();
  });
}

}  // namespace tilewise::cpu::TILEWISE_ISA
