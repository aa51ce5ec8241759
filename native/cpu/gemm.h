// Matrix products of the CPU device, with what usually follows them done in the same pass. Raw pointers and sizes; any row count costs the
// same to set up, because nothing here is compiled for a shape.
#pragma once
#include <cstdint>

#include "../core/dtype.h"
#include "../core/scalar.h"
#include "../core/status.h"

namespace tilewise::cpu {

// C [m, n] = alpha * op(A) [m, k] * op(B) [k, n] + beta * C. Row-major; leading dimensions in elements; op transposes what is stored:
// A as [k, m] with transpose_a, B as [n, k] with transpose_b (a PyTorch weight). Products and sums in f32 for every dtype.
// k = 0 leaves beta * C and the epilogue. C is not read when beta is 0, so it may hold anything. C must not overlap A or B.
struct Gemm {
  int64_t m = 0, n = 0, k = 0;
  bool transpose_a = false, transpose_b = false;
  int64_t lda = 0, ldb = 0, ldc = 0;
  float alpha = 1, beta = 0;
  DType dtype_a = DType::f32, dtype_b = DType::f32, dtype_c = DType::f32;  // f32 or bf16, in any combination
};

// A matrix [m, n] beside C; null data: absent.
template <class Pointer>
struct Beside {
  Pointer data = nullptr;
  DType dtype = DType::f32;  // f32 or bf16
  int64_t ld = 0;
};

// Applied in this order to v = alpha * op(A) op(B) + beta * C, in f32, before C is rounded to its dtype:
//   v += bias[column];  pre_activation = v;  v = f(v), or v *= f'(gradient_at) if that is given;  v += residual;  C = v
// Nothing beside C may overlap C; to add into C itself use beta.
struct Epilogue {
  const void* bias = nullptr;  // [n]
  DType bias_dtype = DType::f32;
  Activation activation = Activation::none;
  Beside<void*> pre_activation;     // written: what the activation saw, for its backward
  Beside<const void*> gradient_at;  // read: a saved pre_activation; makes the epilogue the activation's backward
  Beside<const void*> residual;     // read
};

// Runs on omp_get_max_threads() threads, or on the calling one inside a parallel region. The result depends on shapes, processor and
// thread count only. Errors: invalid_argument for a negative size, a short leading dimension or a missing pointer; unsupported for other
// dtypes; out_of_memory.
Status gemm(const Gemm& g, const void* a, const void* b, void* c, const Epilogue& e = {});

// count products of one shape; the strides (elements) lead from one matrix to the next, 0 repeats A or B. Everything beside C moves by
// its own rows: matrix i uses rows [i * m, i * m + m); the bias is shared.
struct Batch {
  int64_t count = 0;
  int64_t stride_a = 0, stride_b = 0, stride_c = 0;
};
Status batched_gemm(const Gemm& g, const Batch& batch, const void* a, const void* b, void* c, const Epilogue& e = {});

// How products of two bf16 matrices are computed.
enum class Bf16Path {
  amx,          // our kernels for the tile unit; shapes too thin for it take the next path
  onednn,       // bf16 vector instructions, by oneDNN
  through_f32,  // operands widened, f32 product: any x86-64
};
// The fastest path of this processor; also what doctor reports.
Bf16Path bf16_path();
// For tests: makes gemm take a path that this processor has. Returns false, and changes nothing, if it has not.
bool set_bf16_path(Bf16Path path);

}  // namespace tilewise::cpu
