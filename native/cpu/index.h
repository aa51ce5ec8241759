// Row numbers that come as data: checked by the op that reads them, since only the device sees their values.
#pragma once
#include "../core/index_error.h"
#include "cpu.h"
#include "parallel.h"

namespace tilewise::cpu::TILEWISE_ISA {

// An error that names the first element of `index` (i32, contiguous) outside [0, rows).
inline Status check_rows(const char* name, const View& index, int64_t rows) {
  const int32_t* values = index.as<int32_t>();
  const int64_t n = index.count();
  int32_t outside = 0;
#pragma omp simd reduction(| : outside)
  for (int64_t i = 0; i < n; ++i) outside |= values[i] < 0 || values[i] >= rows;
  if (!outside) return Status::ok();
  int64_t at = 0;
  while (values[at] >= 0 && values[at] < rows) ++at;
  return index_error(name, index, at, rows, values[at]);
}

// body(begin, end) on slices of `columns`, for sums over rows that must be added in their order: each thread adds all rows to its own
// columns, so the result does not depend on the number of threads.
template <class Body>
inline void parallel_columns(int64_t columns, int64_t rows, Body&& body) {
  constexpr int64_t kLeast = 64, kGrain = 16384;
  const int64_t slices = (columns + kLeast - 1) / kLeast;
  parallel_for(slices, std::max<int64_t>(1, kGrain / std::max<int64_t>(1, rows * kLeast)),
               [&](int64_t begin, int64_t end) { body(begin * kLeast, std::min(columns, end * kLeast)); });
}

}  // namespace tilewise::cpu::TILEWISE_ISA
