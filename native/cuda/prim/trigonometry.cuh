// Sine and cosine of any float, within 2 units in the last place. CUDA's own reduce large arguments through an array in local memory, whose
// stack frame every kernel that calls them would carry.
#pragma once
#include "../../simt/simt.h"

namespace tilewise::TILEWISE_GPU {

// 32 zero bits, then the binary digits of 2 / pi.
__constant__ uint32_t kTwoOverPi[7] = {0, 0xa2f9836eu, 0x4e441529u, 0xfc2757d1u, 0xf534ddc0u, 0xdb629599u, 0x3c439041u};

// x = quarters * pi / 2 + the result, which is in [-pi/4, pi/4]; only the last two bits of `quarters` are right.
__device__ __forceinline__ float reduce_turn(float x, int* quarters) {
  const float magnitude = fabsf(x);
  if (magnitude < 65536.0f) {                                        // three parts of pi / 2 (Cody and Waite)
    const float q = (x * 0.636619772f + 12582912.0f) - 12582912.0f;  // to the nearest integer
    *quarters = static_cast<int>(q);
    float r = fmaf(q, -0x1.921fb6p+0f, x);
    r = fmaf(q, 0x1.777a5cp-25f, r);
    return fmaf(q, 0x1.ee59dap-50f, r);
  }
  if (!(magnitude < INFINITY)) {
    *quarters = 0;
    return x - x;
  }
  // The product with those 96 digits of 2 / pi that make the last two bits of the integer and its fraction (Payne and Hanek).
  const uint32_t bits = __float_as_uint(magnitude);
  const uint32_t mantissa = bits << 8 | 0x80000000u;
  const int first = static_cast<int>(bits >> 23) - 128, at = first / 32, shift = first % 32;
  uint32_t digits[3];
#pragma unroll
  for (int i = 0; i < 3; ++i)
    digits[i] = static_cast<uint32_t>((uint64_t{kTwoOverPi[at + i]} << 32 | kTwoOverPi[at + i + 1]) << shift >> 32);
  const uint64_t product =
      (uint64_t{mantissa * digits[0]} << 32) + uint64_t{mantissa} * digits[1] + (uint64_t{mantissa} * digits[2] >> 32);  // of 2^-62
  const uint64_t nearest = (product + (uint64_t{1} << 61)) >> 62;
  const float r = static_cast<float>(static_cast<int64_t>(product - (nearest << 62))) * 0x1.921fb6p-62f;
  *quarters = static_cast<int>(x < 0.0f ? 0u - static_cast<uint32_t>(nearest) : static_cast<uint32_t>(nearest));
  return x < 0.0f ? -r : r;
}

// sin(x + quarters * pi / 2) with Cephes' polynomials on [-pi/4, pi/4].
__device__ __forceinline__ float sine_of(float r, int quarters) {
  const float r2 = r * r;
  float s = -1.9515295891e-4f;
  s = s * r2 + 8.3321608736e-3f;
  s = s * r2 + -1.6666654611e-1f;
  s = s * r2 * r + r;
  float c = 2.443315711809948e-5f;
  c = c * r2 + -1.388731625493765e-3f;
  c = c * r2 + 4.166664568298827e-2f;
  c = c * r2 * r2 - 0.5f * r2 + 1.0f;
  const float value = quarters & 1 ? c : s;
  return quarters & 2 ? -value : value;
}

__device__ __forceinline__ float sine(float x) {
  int quarters;
  const float r = reduce_turn(x, &quarters);
  return sine_of(r, quarters);
}
__device__ __forceinline__ float cosine(float x) {
  int quarters;
  const float r = reduce_turn(x, &quarters);
  return sine_of(r, quarters + 1);
}

}  // namespace tilewise::TILEWISE_GPU
