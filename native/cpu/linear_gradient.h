// The backward of y = x W^T + b, which linear, qkv and feed_forward share.
#pragma once
#include "column_sums.h"
#include "gemm.h"

namespace tilewise::cpu::TILEWISE_ISA {

// x [rows, in] and weight [out, in] contiguous, dy [rows, out] with its leading dimension.
struct LinearShape {
  int64_t rows = 0, in = 0, out = 0;
  int64_t ld_dy = 0;
  DType dtype = DType::f32;  // of x, weight, dy and dx
};

// dx = dy W;  dweight += dy^T x;  dbias += column sums of dy. Null: not wanted. dweight and dbias are f32.
inline Status linear_gradient(Context& context, const LinearShape& s, const void* dy, const void* x, const void* weight, void* dx,
                              float* dweight, float* dbias) {
  Gemm g;
  g.dtype_a = g.dtype_b = g.dtype_c = s.dtype;
  g.lda = s.ld_dy;
  g.ldb = g.ldc = std::max<int64_t>(1, s.in);
  if (dx) {
    g.m = s.rows, g.n = s.in, g.k = s.out;
    TILEWISE_RETURN_IF_ERROR(gemm(g, dy, weight, dx));
  }
  if (dweight) {
    g.m = s.out, g.n = s.in, g.k = s.rows;
    g.transpose_a = true;
    g.beta = 1;
    g.dtype_c = DType::f32;
    TILEWISE_RETURN_IF_ERROR(gemm(g, dy, x, dweight));
  }
  if (dbias) return add_column_sums(context, s.dtype, dy, s.rows, s.out, s.ld_dy, dbias);
  return Status::ok();
}

}  // namespace tilewise::cpu::TILEWISE_ISA
