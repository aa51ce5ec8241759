// Products of bf16 matrices into f32, on the calling thread.
#pragma once
#include "gemm.h"

namespace tilewise::cpu {

// C [m, n] (f32) = op(A) op(B), with the sizes of one block; other fields of g are as in gemm().
Status multiply_bf16(const Gemm& g, int64_t m, int64_t n, int64_t k, const bf16* a, const bf16* b, float* c, int64_t ldc);

// Whether this processor and this oneDNN compute the above.
bool can_multiply_bf16();

}  // namespace tilewise::cpu
