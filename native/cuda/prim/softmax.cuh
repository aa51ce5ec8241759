// The running maximum and the sum of exponentials beyond it, for softmax and cross entropy: in base 2 inside.
#pragma once
#include "../ptx/convert.cuh"
#include "rows.cuh"

namespace tilewise::TILEWISE_GPU {

__device__ __forceinline__ float exp_approx(float x) { return exp2_approx(x * 1.44269504088896341f); }

// top: the largest value seen, total: sum of exp(value - top). Nothing seen, or -inf alone: -inf and 0.
struct Exponentials {
  float top, total;

  // `total` as of a maximum `higher`, which is at least `top`, or NaN.
  __device__ __forceinline__ float total_at(float higher) const { return top == -INFINITY ? 0.0f : total * exp_approx(top - higher); }
  __device__ __forceinline__ void join(const Exponentials& other) {
    const float higher = Max::join(top, other.top);
    total = total_at(higher) + other.total_at(higher);
    top = higher;
  }
};

}  // namespace tilewise::TILEWISE_GPU
