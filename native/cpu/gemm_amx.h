// Products of bf16 matrices by the processor's tile unit (AMX).
#pragma once
#include "gemm.h"

namespace tilewise::cpu {

// Whether this processor has AMX for bf16 and the system lets this process use it (asks for that at the first call).
bool has_amx();

// gemm() for bf16 A and B with m, n and k above 0. A single row, or a few against a B that would have to be packed, leave *done false and C
// as it was: vector instructions do those faster.
Status amx_gemm(const Gemm& g, const bf16* a, const bf16* b, void* c, const Epilogue& e, bool* done);

}  // namespace tilewise::cpu
