// From random words to numbers of a distribution, the same on every device but for the last bit. Element i draws word w[i], whose uniform
// number is u[i]:
//
//   uniform    a + (b - a) u[i]
//   normal     a + b z, Box-Muller on the pair (u[i & ~1], u[i | 1]) = (u, v): radius sqrt(-2 ln(1 - u)), times cos(2 pi v) for even i and
//              sin(2 pi v) for odd i
//   truncated  a + b z, the inverse transform z = sqrt(2) erfinv(erf(sqrt 2) (2 u[i] - 1)), within 2 deviations
#pragma once
#include "random.h"

namespace tilewise::random {

// The order is part of the command stream; lib/ops/random.ts repeats it.
enum class Distribution : int32_t { uniform = 0, normal = 1, truncated = 2 };

// Natural logarithm of a normal positive number: Cephes' logf, 1 ulp, without branches.
TILEWISE_SCALAR float log_positive(float x) {
  int32_t bits;
  std::memcpy(&bits, &x, 4);
  // x = m * 2^e with m in [sqrt(1/2), sqrt 2)
  const int32_t e = (bits - 0x3f3504f3) >> 23;
  const int32_t mantissa = bits - e * (1 << 23);
  float m;
  std::memcpy(&m, &mantissa, 4);
  const float f = m - 1.0f, f2 = f * f, exponent = static_cast<float>(e);
  float p = 7.0376836292e-2f;
  p = p * f + -1.1514610310e-1f;
  p = p * f + 1.1676998740e-1f;
  p = p * f + -1.2420140846e-1f;
  p = p * f + 1.4249322787e-1f;
  p = p * f + -1.6668057665e-1f;
  p = p * f + 2.0000714765e-1f;
  p = p * f + -2.4999993993e-1f;
  p = p * f + 3.3333331174e-1f;
  p = p * f * f2 + exponent * -2.12194440e-4f - 0.5f * f2;
  return f + p + exponent * 0.693359375f;
}

// Cosine and sine of 2 pi v for v in [0, 1): the octant is taken off exactly, polynomials of Cephes' sinf and cosf on [-pi/4, pi/4].
TILEWISE_SCALAR void cos_sin_turn(float v, float* cosine, float* sine) {
  const float quarters = (v * 4.0f + 12582912.0f) - 12582912.0f;
  const float t = (v - quarters * 0.25f) * 6.28318530717958648f, t2 = t * t;
  float s = -1.9515295891e-4f;
  s = s * t2 + 8.3321608736e-3f;
  s = s * t2 + -1.6666654611e-1f;
  s = s * t2 * t + t;
  float c = 2.443315711809948e-5f;
  c = c * t2 + -1.388731625493765e-3f;
  c = c * t2 + 4.166664568298827e-2f;
  c = c * t2 * t2 - 0.5f * t2 + 1.0f;
  const int32_t quadrant = static_cast<int32_t>(quarters) & 3;
  const float first = quadrant & 1 ? s : c, second = quadrant & 1 ? c : s;
  *cosine = quadrant == 1 || quadrant == 2 ? -first : first;
  *sine = quadrant >= 2 ? -second : second;
}

// sqrt(2) erfinv(x) for |x| <= erf(sqrt 2): Giles, "Approximating the erfinv function" (GPU Computing Gems, 2011), whose central polynomial
// serves up to |x| = 0.9966.
TILEWISE_SCALAR float normal_quantile(float x) {
  const float w = -log_positive((1.0f - x) * (1.0f + x)) - 2.5f;
  float p = 2.81022636e-08f;
  p = p * w + 3.43273939e-07f;
  p = p * w + -3.5233877e-06f;
  p = p * w + -4.39150654e-06f;
  p = p * w + 0.00021858087f;
  p = p * w + -0.00125372503f;
  p = p * w + -0.00417768164f;
  p = p * w + 0.246640727f;
  p = p * w + 1.50140941f;
  return p * x * 1.41421356237309505f;
}

TILEWISE_SCALAR float uniform_between(uint32_t word, float a, float b) { return a + (b - a) * uniform(word); }

TILEWISE_SCALAR void normal_pair(uint32_t first, uint32_t second, float a, float b, float* even, float* odd) {
  const float radius = std::sqrt(-2.0f * log_positive(1.0f - uniform(first)));
  float cosine, sine;
  cos_sin_turn(uniform(second), &cosine, &sine);
  *even = a + b * (radius * cosine);
  *odd = a + b * (radius * sine);
}

TILEWISE_SCALAR float truncated_normal(uint32_t word, float a, float b) {
  constexpr float kErfSqrt2 = 0.95449973610364158f;
  const float z = normal_quantile(kErfSqrt2 * (2.0f * uniform(word) - 1.0f));
  return a + b * (z < -2.0f ? -2.0f : z > 2.0f ? 2.0f : z);
}

}  // namespace tilewise::random
