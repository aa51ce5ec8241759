// Sums and maxima over one contiguous row. They run in kLanes partial results that are joined in a fixed order, so that no result depends
// on the vector width; two vectors of AVX-512 are enough to hide the latency of an addition.
#pragma once
#include <algorithm>
#include <cstdint>
#include <limits>

#include "cpu.h"

namespace tilewise::cpu::TILEWISE_ISA {

constexpr int kRowLanes = 32;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// join(lanes[k], f(i)) for all i in [0, n), i in lane i % kRowLanes.
template <class F, class Join>
inline __attribute__((always_inline)) float join_row(int64_t n, float start, F f, Join join) {
  float lanes[kRowLanes];
  for (float& lane : lanes) lane = start;
  int64_t i = 0;
  for (; i + kRowLanes <= n; i += kRowLanes) {
#pragma omp simd
    for (int k = 0; k < kRowLanes; ++k) lanes[k] = join(lanes[k], f(i + k));
  }
  for (int k = 0; i < n; ++i, ++k) lanes[k] = join(lanes[k], f(i));
  for (int width = kRowLanes / 2; width > 0; width /= 2)
    for (int k = 0; k < width; ++k) lanes[k] = join(lanes[k], lanes[k + width]);
  return lanes[0];
}

template <class F>
inline __attribute__((always_inline)) float sum_row(int64_t n, F f) {
  return join_row(
      n, 0.0f, f, [](float a, float b) __attribute__((always_inline)) { return a + b; });
}

// -inf for an empty row; a NaN wins.
template <class F>
inline __attribute__((always_inline)) float max_row(int64_t n, F f) {
  return join_row(
      n, -kInfinity, f, [](float a, float b) __attribute__((always_inline)) { return b > a || b != b ? b : a; });
}

// Rows of n elements that are worth a thread.
inline int64_t row_grain(int64_t n) { return std::max<int64_t>(1, 16384 / std::max<int64_t>(1, n)); }

}  // namespace tilewise::cpu::TILEWISE_ISA
