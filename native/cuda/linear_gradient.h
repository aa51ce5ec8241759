// The backward of y = x W^T + b, which linear, qkv and feed_forward share.
#pragma once
#include "gemm.h"

namespace tilewise::TILEWISE_GPU {

// x [rows, in] and weight [out, in] contiguous; dy [rows, out] in up to three tensors side by side.
struct LinearGradient {
  struct Part {
    const void* data = nullptr;
    int64_t width = 0, ld = 0;
  };
  int64_t rows = 0, in = 0, out = 0;
  DType dtype = DType::f32;  // of x, weight, dy and dx
  Part dy[3];
  int parts = 1;
  const void *x = nullptr, *weight = nullptr;
  // Null: not wanted.
  void* dx = nullptr;
  float *dweight = nullptr, *dbias = nullptr;
};

// dx = dy W;  dweight += dy^T x;  dbias += column sums of dy.
Status linear_gradient(Context& context, const LinearGradient& l);

// product = dy * f'(at), all [rows, columns] and dense; dbias += its column sums, unless null.
Status activation_gradient(Context& context, DType dtype, Activation activation, int64_t rows, int64_t columns, const void* dy,
                           const void* at, void* product, float* dbias);

}  // namespace tilewise::TILEWISE_GPU
