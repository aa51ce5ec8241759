// Sums over the rows of a matrix: what the gradient of a bias is.
#pragma once
#include "elementwise.h"

namespace tilewise::cpu::TILEWISE_ISA {

// sums[j] += x[0, j] + ... + x[rows - 1, j]. Blocks of a fixed height are summed apart and then in order, so the result depends neither on
// the number of threads nor on the instruction set, and long sums keep their low bits.
inline Status add_column_sums(Context& context, DType dtype, const void* x, int64_t rows, int64_t columns, int64_t ld, float* sums) {
  if (rows == 0 || columns == 0) return Status::ok();
  constexpr int64_t kHeight = 64;
  const int64_t blocks = (rows + kHeight - 1) / kHeight;
  void* memory = nullptr;
  TILEWISE_RETURN_IF_ERROR(context.scratch(static_cast<size_t>(blocks * columns) * sizeof(float), &memory));
  float* partial = static_cast<float*>(memory);  // [blocks, columns]
  return dispatch_float(dtype, [&](auto type) {
    using T = decltype(type);
    parallel_for(blocks, std::max<int64_t>(1, 65536 / (kHeight * columns)), [&](int64_t begin, int64_t end) {
      for (int64_t block = begin; block < end; ++block) {
        const int64_t height = std::min(kHeight, rows - block * kHeight);
        const T* row = static_cast<const T*>(x) + block * kHeight * ld;
        float* part = partial + block * columns;
        std::fill_n(part, columns, 0.0f);
        int64_t i = 0;
        for (; i + 4 <= height; i += 4, row += 4 * ld) {
          const T *r0 = row, *r1 = row + ld, *r2 = row + 2 * ld, *r3 = row + 3 * ld;
#pragma omp simd
          for (int64_t j = 0; j < columns; ++j)
            part[j] += (static_cast<float>(r0[j]) + static_cast<float>(r1[j])) + (static_cast<float>(r2[j]) + static_cast<float>(r3[j]));
        }
        for (; i < height; ++i, row += ld) {
#pragma omp simd
          for (int64_t j = 0; j < columns; ++j) part[j] += static_cast<float>(row[j]);
        }
      }
    });
    for (int64_t block = 1; block < blocks; ++block) {
      const float* part = partial + block * columns;
#pragma omp simd
      for (int64_t j = 0; j < columns; ++j) partial[j] += part[j];
    }
#pragma omp simd
    for (int64_t j = 0; j < columns; ++j) sums[j] += partial[j];
    return Status::ok();
  });
}

}  // namespace tilewise::cpu::TILEWISE_ISA
