// Sums and maxima over a warp and over a block, always in the same order: the same bits every time.
#pragma once
#include "../../simt/simt.h"

namespace tilewise::TILEWISE_GPU {

constexpr uint32_t kFullMask = 0xffffffffu;

struct Add {
  static __device__ __forceinline__ float start() { return 0.0f; }
  static __device__ __forceinline__ float join(float a, float b) { return a + b; }
};
// NaN wins on either side.
struct Max {
  static __device__ __forceinline__ float start() { return -INFINITY; }
  static __device__ __forceinline__ float join(float a, float b) { return b > a || b != b ? b : a; }
};
struct Min {
  static __device__ __forceinline__ float start() { return INFINITY; }
  static __device__ __forceinline__ float join(float a, float b) { return b < a || b != b ? b : a; }
};

// Over `Width` neighbouring lanes; every lane gets the result.
template <class F, int Width = kWarpSize>
__device__ __forceinline__ float warp_reduce(float value) {
#pragma unroll
  for (int lanes = Width / 2; lanes > 0; lanes /= 2) value = F::join(value, __shfl_xor_sync(kFullMask, value, lanes));
  return value;
}

// Over all threads of a one-dimensional block, whose size is a multiple of 32; every thread gets the result. May be called again at once.
template <class F>
__device__ __forceinline__ float block_reduce(float value) {
  SHARED_ARRAY(float, partial, kWarpSize);
  const int warp = threadIdx.x / kWarpSize, lane = threadIdx.x % kWarpSize;
  value = warp_reduce<F>(value);
  if (lane == 0) partial[warp] = value;
  __syncthreads();
  value = lane < static_cast<int>(blockDim.x) / kWarpSize ? partial[lane] : F::start();
  value = warp_reduce<F>(value);
  __syncthreads();  // before the next call writes `partial`
  return value;
}

// The same of several values at once.
template <class F, int Count>
__device__ __forceinline__ void block_reduce(float (&values)[Count]) {
  SHARED_ARRAY(float, partial, Count* kWarpSize);
  const int warp = threadIdx.x / kWarpSize, lane = threadIdx.x % kWarpSize;
#pragma unroll
  for (int i = 0; i < Count; ++i) {
    values[i] = warp_reduce<F>(values[i]);
    if (lane == 0) partial[i * kWarpSize + warp] = values[i];
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < Count; ++i) {
    values[i] = lane < static_cast<int>(blockDim.x) / kWarpSize ? partial[i * kWarpSize + lane] : F::start();
    values[i] = warp_reduce<F>(values[i]);
  }
  __syncthreads();
}

}  // namespace tilewise::TILEWISE_GPU
