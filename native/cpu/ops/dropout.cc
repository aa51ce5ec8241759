// y = x / (1 - p) where element i of draw (seed, counter) is kept, else 0. Its own backward, applied to dy.
#include "../../core/random.h"
#include "../elementwise.h"

namespace tilewise::cpu::TILEWISE_ISA {

Status dropout(Context&, const dropout_args& a) {
  const int64_t n = a.y.count(), runs = (n + random::kRun - 1) / random::kRun;
  const float p = a.p, kept = 1.0f / (1.0f - p);
  return dispatch_float(a.x.dtype, [&](auto type) {
    using T = decltype(type);
    const T* x = a.x.as<T>();
    T* y = a.y.as<T>();
    // Threads share the elements by whole runs, so that each begins aligned.
    parallel_for(runs, 16384 / random::kRun, [&](int64_t begin, int64_t end) {
      const int64_t first = begin * random::kRun, count = std::min(n, end * random::kRun) - first;
      random::each_run(a.seed, a.counter, static_cast<uint64_t>(first), count, [&](int64_t offset, int64_t m, const uint32_t* words) {
        const T* in = x + first + offset;
        T* out = y + first + offset;
#pragma omp simd
        for (int64_t i = 0; i < m; ++i) out[i] = T(random::value_if(random::keep(words[i], p), kept * static_cast<float>(in[i])));
      });
    });
    return Status::ok();
  });
}

}  // namespace tilewise::cpu::TILEWISE_ISA
