// Loops over threads. The split depends on the count and the thread number only, so results do not change from run to run.
#pragma once
#include <omp.h>

#include <algorithm>
#include <cstdint>

namespace tilewise::cpu::TILEWISE_ISA {

// body(begin, end) on disjoint ranges of [0, count); grain: the least work worth a thread.
template <class Body>
inline void parallel_for(int64_t count, int64_t grain, Body&& body) {
  if (count <= 0) return;
  const int64_t wanted = grain > 0 ? (count + grain - 1) / grain : count;
  const int threads = static_cast<int>(std::min<int64_t>(omp_get_max_threads(), wanted));
  if (threads <= 1 || omp_in_parallel()) {
    body(int64_t{0}, count);
    return;
  }
#pragma omp parallel num_threads(threads)
  {
    const int64_t thread = omp_get_thread_num(), of = omp_get_num_threads();
    const int64_t begin = count * thread / of, end = count * (thread + 1) / of;
    if (begin < end) body(begin, end);
  }
}

}  // namespace tilewise::cpu::TILEWISE_ISA
