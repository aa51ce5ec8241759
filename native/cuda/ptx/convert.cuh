// Two floats to a pair of 16-bit ones in a register, `low` in the lower half (cvt.rn.bf16x2.f32, cvt.rn.f16x2.f32; sm_80 and up).
#pragma once
#include "../../simt/simt.h"

namespace tilewise::TILEWISE_GPU {

template <class T>
__device__ __forceinline__ uint32_t pack(float low, float high) {
#if defined(__CUDACC__)
  uint32_t out;
  if constexpr (std::is_same_v<T, bf16>)
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;\n" : "=r"(out) : "f"(high), "f"(low));
  else
    asm("cvt.rn.f16x2.f32 %0, %1, %2;\n" : "=r"(out) : "f"(high), "f"(low));
  return out;
#else
  return static_cast<uint32_t>(T(low).bits) | static_cast<uint32_t>(T(high).bits) << 16;
#endif
}

// 2^x, within 2 ulp, subnormal results flushed to zero (ex2.approx.ftz.f32).
__device__ __forceinline__ float exp2_approx(float x) {
#if defined(__CUDACC__)
  float out;
  asm("ex2.approx.ftz.f32 %0, %1;\n" : "=f"(out) : "f"(x));
  return out;
#else
  const float y = std::exp2(x);
  return y < 1.1754944e-38f ? 0.0f : y;
#endif
}

}  // namespace tilewise::TILEWISE_GPU
