// mma.sync: a warp's D = A B + D on 16 × 8 tiles with f32 accumulators (PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point
// type", "… for mma.m16n8k8"). With g = lane / 4 and t = lane % 4:
//
//   16-bit, K = 16   A (row):  r0 (g, 2t..2t+1)  r1 (g+8, 2t..)  r2 (g, 2t+8..)  r3 (g+8, 2t+8..)      B (col): r0 (k 2t..2t+1, n g)  r1 (k
//   2t+8.., n g) tf32,   K = 8    A (row):  r0 (g, t)  r1 (g+8, t)  r2 (g, t+4)  r3 (g+8, t+4)                      B (col): r0 (k t, n g)
//   r1 (k t+4, n g) D                d0 (g, 2t)  d1 (g, 2t+1)  d2 (g+8, 2t)  d3 (g+8, 2t+1)
#pragma once
#include "matrix_load.cuh"

namespace tilewise::TILEWISE_GPU {

// The element type of a product whose operands are f32 registers that the tensor core reads as tf32: the lower 13 bits are not looked at.
struct tf32 {};

template <class T>
constexpr int kMmaDepth = std::is_same_v<T, tf32> ? 8 : 16;

#if !defined(__CUDACC__)
namespace model {

struct MmaInput {
  uint32_t a[4], b[2];
  float d[4];
};
struct MmaOutput {
  float d[4];
};

template <class T>
double operand(uint32_t word, int half) {
  if constexpr (std::is_same_v<T, tf32>) {
    return __uint_as_float(word & 0xffffe000u);
  } else {
    T value;
    value.bits = static_cast<uint16_t>(word >> (16 * half));
    return static_cast<float>(value);
  }
}

// Products are exact and added exactly (in f64), then rounded once; the hardware's own order and truncation are not documented.
template <class T>
void mma(const MmaInput* in, MmaOutput* out, uint32_t) {
  constexpr int K = kMmaDepth<T>, kPer = std::is_same_v<T, tf32> ? 1 : 2;
  double a[16][K], b[K][8];
  for (int lane = 0; lane < kWarpSize; ++lane) {
    const int g = lane / 4, t = lane % 4;
    for (int r = 0; r < 4; ++r)
      for (int i = 0; i < kPer; ++i) a[g + 8 * (r % 2)][(kPer * t + i) + K / 2 * (r / 2)] = operand<T>(in[lane].a[r], i);
    for (int r = 0; r < 2; ++r)
      for (int i = 0; i < kPer; ++i) b[(kPer * t + i) + K / 2 * r][g] = operand<T>(in[lane].b[r], i);
  }
  for (int lane = 0; lane < kWarpSize; ++lane)
    for (int r = 0; r < 4; ++r) {
      const int row = lane / 4 + 8 * (r / 2), column = 2 * (lane % 4) + r % 2;
      double sum = in[lane].d[r];
      for (int k = 0; k < K; ++k) sum += a[row][k] * b[k][column];
      out[lane].d[r] = static_cast<float>(sum);
    }
  Machine& machine = *Machine::active();
  if (machine.counting) machine.counters().matrix_instruction();
}

}  // namespace model
#endif

// d += a b on all 32 lanes; T is bf16, f16 or tf32.
template <class T>
__device__ __forceinline__ void mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], SITE) {
#if defined(__CUDACC__)
  if constexpr (std::is_same_v<T, bf16>)
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};\n"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  else if constexpr (std::is_same_v<T, f16>)
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};\n"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  else
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};\n"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  model::MmaInput in;
  std::memcpy(in.a, a, sizeof in.a);
  std::memcpy(in.b, b, sizeof in.b);
  std::memcpy(in.d, d, sizeof in.d);
  const auto out = Machine::active()->collective<model::MmaOutput>(0xffffffffu, "mma.sync", site, in, model::mma<T>);
  std::memcpy(d, out.d, sizeof out.d);
#endif
}

// The nearest tf32, ties away from zero (cvt.rna.tf32.f32): 10 bits of mantissa, in the place of the f32's.
__device__ __forceinline__ uint32_t to_tf32(float x) {
#if defined(__CUDACC__)
  uint32_t out;
  asm("cvt.rna.tf32.f32 %0, %1;\n" : "=r"(out) : "f"(x));
  return out;
#else
  const uint32_t bits = __float_as_uint(x);
  return (bits & 0x7f800000u) == 0x7f800000u ? bits : (bits + 0x1000u) & 0xffffe000u;
#endif
}

}  // namespace tilewise::TILEWISE_GPU
