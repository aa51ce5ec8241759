// Element types and the conversions between them.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "portable.h"

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

namespace tilewise {

// The order is part of the command stream; lib/dtype.ts repeats it.
enum class DType : uint8_t { f32 = 0, bf16 = 1, f16 = 2, i32 = 3, u8 = 4 };

constexpr size_t size_of(DType dtype) { return dtype == DType::f32 || dtype == DType::i32 ? 4 : dtype == DType::u8 ? 1 : 2; }
constexpr bool is_float(DType dtype) { return dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::f16; }
constexpr const char* name_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "f32";
    case DType::bf16:
      return "bf16";
    case DType::f16:
      return "f16";
    case DType::i32:
      return "i32";
    case DType::u8:
      return "u8";
  }
  return "?";
}

// The upper half of a float. Conversion rounds to nearest even and keeps NaN a NaN.
struct bf16 {
  uint16_t bits;

  bf16() = default;
  bf16(const bf16&) = default;
  // By its field: GCC 12 vectorizes no loop under `omp simd` that copies an aggregate, which every `y[i] = bf16(value)` is (3.5 times the
  // time of a conversion with AVX-512).
  TILEWISE_SCALAR bf16& operator=(const bf16& other) {
    bits = other.bits;
    return *this;
  }
  TILEWISE_SCALAR explicit bf16(float value) {
#if defined(__CUDA_ARCH__)  // one instruction, where the lines below are six
    bits = __bfloat16_as_ushort(__float2bfloat16_rn(value));
#else
    uint32_t u;
    std::memcpy(&u, &value, 4);
    const uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    const uint32_t quiet = (u >> 16) | 0x40u;
    bits = static_cast<uint16_t>((u & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
#endif
  }
  TILEWISE_SCALAR explicit operator float() const {
    const uint32_t u = static_cast<uint32_t>(bits) << 16;
    float value;
    std::memcpy(&value, &u, 4);
    return value;
  }
};

// IEEE binary16, converted in software: hosts without F16C exist, and only reads and writes use it.
struct f16 {
  uint16_t bits;

  f16() = default;
  TILEWISE_SCALAR explicit f16(float value) {
#if defined(__CUDA_ARCH__)
    bits = __half_as_ushort(__float2half_rn(value));
#else
    uint32_t u;
    std::memcpy(&u, &value, 4);
    const uint32_t sign = (u >> 16) & 0x8000u;
    const uint32_t magnitude = u & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
      bits = static_cast<uint16_t>(sign | 0x7e00u);
    } else if (magnitude >= 0x477ff000u) {  // rounds to 65536 or more
      bits = static_cast<uint16_t>(sign | 0x7c00u);
    } else if (magnitude < 0x38800000u) {  // subnormal: adding 0.5 shifts the mantissa into place and rounds it
      float shifted;
      std::memcpy(&shifted, &magnitude, 4);
      shifted += 0.5f;
      uint32_t s;
      std::memcpy(&s, &shifted, 4);
      bits = static_cast<uint16_t>(sign | (s - 0x3f000000u));
    } else {
      bits = static_cast<uint16_t>(sign | ((magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13));
    }
#endif
  }
  TILEWISE_SCALAR explicit operator float() const {
#if defined(__CUDA_ARCH__)
    return __half2float(__ushort_as_half(bits));
#else
    const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
    const uint32_t magnitude = bits & 0x7fffu;
    uint32_t u;
    if (magnitude >= 0x7c00u) {
      u = sign | 0x7f800000u | ((magnitude & 0x3ffu) << 13);
    } else if (magnitude >= 0x400u) {
      u = sign | ((magnitude << 13) + 0x38000000u);
    } else {
      const float value = static_cast<float>(magnitude) * 5.9604644775390625e-8f;  // 2^-24
      std::memcpy(&u, &value, 4);
      u |= sign;
    }
    float value;
    std::memcpy(&value, &u, 4);
    return value;
#endif
  }
};

}  // namespace tilewise
