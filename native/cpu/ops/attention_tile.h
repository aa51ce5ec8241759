// Small matrix products and vector functions on scratch memory, for blockwise attention. Vectors are GCC's, as wide as the instruction set:
// the compiler's own vectorizer does not keep a block of accumulators in registers.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <utility>

#include "../cpu.h"

namespace tilewise::cpu::TILEWISE_ISA::attention_tile {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

typedef float Vec __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));
typedef int32_t IntVec __attribute__((vector_size(4 * kLanes)));
typedef uint16_t HalfVec __attribute__((vector_size(2 * kLanes), aligned(2), may_alias));

#define TILEWISE_INLINE inline __attribute__((always_inline))

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kLog2E = 1.44269504088896341f, kLn2 = 0.69314718055994531f;

constexpr int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

TILEWISE_INLINE Vec load(const float* from) { return *reinterpret_cast<const Vec*>(from); }
TILEWISE_INLINE Vec load(const bf16* from) {
  const HalfVec bits = *reinterpret_cast<const HalfVec*>(from);
  typedef uint32_t Wide __attribute__((vector_size(4 * kLanes)));
  return reinterpret_cast<Vec>(__builtin_convertvector(bits, Wide) << 16);
}
TILEWISE_INLINE void store(float* to, Vec value) { *reinterpret_cast<Vec*>(to) = value; }
// Not value + 0, which is an addition: it turns -0 into 0.
TILEWISE_INLINE Vec splat(float value) { return value - Vec{}; }
TILEWISE_INLINE Vec larger(Vec a, Vec b) { return a > b ? a : b; }

// 2^x by 2^k p(x - k), p of degree 6: relative error below 2e-7. Results below 2^-126 are 0; x above 127 counts as 127; NaN stays NaN.
TILEWISE_INLINE Vec exp2(Vec x) {
  constexpr float kRounder = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, which then lies in the low bits
  x = x < -127.0f ? splat(-127.0f) : x;
  x = x > 127.0f ? splat(127.0f) : x;
  const Vec shifted = x + kRounder;
  const Vec r = x - (shifted - kRounder);
  Vec p = splat(1.53533619e-4f);
  p = p * r + 1.33988753e-3f;
  p = p * r + 9.61843736e-3f;
  p = p * r + 5.55033236e-2f;
  p = p * r + 2.40226485e-1f;
  p = p * r + 6.93147182e-1f;
  p = p * r + 1.0f;
  const IntVec exponent = (reinterpret_cast<IntVec>(shifted) << 23) + 0x3f800000;  // 0 for k = -127: a factor of 0
  return p * reinterpret_cast<Vec>(exponent);
}

// --- products

enum class Into { assign, add, scale_and_add };

// c [R, C vectors] = sum over k < depth of a(r, k) * b[k], or that + c, or that + c * scale (a value a column). a(r, k) = a[r * row + k *
// step].
template <Into kInto, int R, int C>
TILEWISE_INLINE void multiply_tile(int64_t depth, const float* a, int64_t row, int64_t step, const float* b, int64_t ldb, float* c,
                                   int64_t ldc, const float* scale) {
  Vec sums[R][C];
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < C; ++v) {
      if constexpr (kInto == Into::assign) sums[r][v] = Vec{};
      if constexpr (kInto == Into::add) sums[r][v] = load(c + r * ldc + v * kLanes);
      if constexpr (kInto == Into::scale_and_add) sums[r][v] = load(c + r * ldc + v * kLanes) * load(scale + v * kLanes);
    }
  for (int64_t k = 0; k < depth; ++k) {
    Vec right[C];
#pragma GCC unroll 4
    for (int v = 0; v < C; ++v) right[v] = load(b + v * kLanes);
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      const Vec left = splat(a[r * row]);
#pragma GCC unroll 4
      for (int v = 0; v < C; ++v) sums[r][v] += left * right[v];
    }
    a += step;
    b += ldb;
  }
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < C; ++v) store(c + r * ldc + v * kLanes, sums[r][v]);
}

template <Into kInto, int R, int C>
__attribute__((noinline)) void multiply_rows(int64_t rows, int64_t depth, const float* a, int64_t row, int64_t step, const float* b,
                                             int64_t ldb, float* c, int64_t ldc, const float* scale) {
  for (; rows >= R; rows -= R, a += R * row, c += R * ldc) multiply_tile<kInto, R, C>(depth, a, row, step, b, ldb, c, ldc, scale);
  if constexpr (R > 1) {
    constexpr int kHalf = R > 8 ? 8 : R > 4 ? 4 : R / 2;
    if (rows > 0) multiply_rows<kInto, kHalf, C>(rows, depth, a, row, step, b, ldb, c, ldc, scale);
  }
}

// c [rows, columns] (op)= a [rows, depth] b [depth, columns]; columns is a multiple of kLanes. Accumulators fill the registers: as many
// rows as fit beside the vectors of a row.
template <Into kInto>
inline void multiply(int64_t rows, int64_t columns, int64_t depth, const float* a, int64_t row, int64_t step, const float* b, int64_t ldb,
                     float* c, int64_t ldc, const float* scale = nullptr) {
#if defined(__AVX512F__)
  for (; columns >= 4 * kLanes || columns == 2 * kLanes || columns == kLanes || columns == 3 * kLanes;) {
    if (columns >= 4 * kLanes) {
      multiply_rows<kInto, 6, 4>(rows, depth, a, row, step, b, ldb, c, ldc, scale);
      b += 4 * kLanes, c += 4 * kLanes, columns -= 4 * kLanes;
      if (scale) scale += 4 * kLanes;
    } else if (columns == 3 * kLanes) {
      return multiply_rows<kInto, 8, 3>(rows, depth, a, row, step, b, ldb, c, ldc, scale);
    } else if (columns == 2 * kLanes) {
      return multiply_rows<kInto, 12, 2>(rows, depth, a, row, step, b, ldb, c, ldc, scale);
    } else {
      return multiply_rows<kInto, 12, 1>(rows, depth, a, row, step, b, ldb, c, ldc, scale);
    }
  }
#else
  while (columns > 0) {
    if (columns >= 2 * kLanes) {
      multiply_rows<kInto, 6, 2>(rows, depth, a, row, step, b, ldb, c, ldc, scale);
      b += 2 * kLanes, c += 2 * kLanes, columns -= 2 * kLanes;
      if (scale) scale += 2 * kLanes;
    } else {
      return multiply_rows<kInto, 8, 1>(rows, depth, a, row, step, b, ldb, c, ldc, scale);
    }
  }
#endif
}

// --- moving

// The permutations of one step of a transpose by exchanging blocks of kSize lanes between two rows.
template <int kSize, int... kLane>
TILEWISE_INLINE void exchange(Vec& a, Vec& b, std::integer_sequence<int, kLane...>) {
  constexpr IntVec low = {((kLane & kSize) ? kLane - kSize + kLanes : kLane)...};
  constexpr IntVec high = {((kLane & kSize) ? kLane + kLanes : kLane + kSize)...};
  const Vec x = a, y = b;
  a = __builtin_shuffle(x, y, low);
  b = __builtin_shuffle(x, y, high);
}
template <int kSize>
TILEWISE_INLINE void exchange_all(Vec* rows) {
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i)
    if (!(i & kSize)) exchange<kSize>(rows[i], rows[i + kSize], std::make_integer_sequence<int, kLanes>{});
}
TILEWISE_INLINE void transpose(Vec* rows) {
  exchange_all<1>(rows);
  exchange_all<2>(rows);
  if constexpr (kLanes > 4) exchange_all<(kLanes > 4 ? 4 : 1)>(rows);
  if constexpr (kLanes > 8) exchange_all<(kLanes > 8 ? 8 : 1)>(rows);
}

// to[j * ld_to + i] = from[i * ld_from + j]; both sizes are multiples of kLanes.
inline void transpose(const float* from, int64_t ld_from, int64_t rows, int64_t columns, float* to, int64_t ld_to) {
  for (int64_t i = 0; i < rows; i += kLanes) {
    for (int64_t j = 0; j < columns; j += kLanes) {
      Vec block[kLanes];
#pragma GCC unroll 16
      for (int r = 0; r < kLanes; ++r) block[r] = load(from + (i + r) * ld_from + j);
      transpose(block);
#pragma GCC unroll 16
      for (int r = 0; r < kLanes; ++r) store(to + (j + r) * ld_to + i, block[r]);
    }
  }
}

// One row, widened and scaled, zeros up to `padded`.
template <class T>
TILEWISE_INLINE void load_row(const T* from, int64_t n, int64_t padded, float factor, float* to) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(to + i, load(from + i) * factor);
  for (; i < n; ++i) to[i] = static_cast<float>(from[i]) * factor;
  for (; i < padded; ++i) to[i] = 0.0f;
}
// `rows` rows, zero rows up to `padded_rows`.
template <class T>
inline void load_rows(const T* from, int64_t stride, int64_t rows, int64_t padded_rows, int64_t n, int64_t padded, float factor,
                      float* to) {
  for (int64_t r = 0; r < rows; ++r) load_row(from + r * stride, n, padded, factor, to + r * padded);
  if (rows < padded_rows) std::memset(to + rows * padded, 0, static_cast<size_t>((padded_rows - rows) * padded) * sizeof(float));
}
template <class T>
TILEWISE_INLINE void store_row(const float* from, int64_t n, float factor, T* to) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) to[i] = T(from[i] * factor);
}

}  // namespace tilewise::cpu::TILEWISE_ISA::attention_tile
