// Sums over all rows of a tensor by column, in two stages: each block of a kernel leaves the sums of its rows in scratch memory, then these
// are added in the order of the blocks. No atomics: the same bits every time.
#pragma once
#include "../cuda.h"
#include "vector.cuh"

namespace tilewise::TILEWISE_GPU {
namespace {

constexpr int kPartialThreads = 256;

// partials [blocks, 2, columns] f32; to[0] and to[1] [columns] f32 are added to, null: not wanted.
struct PartialSums {
  const float* partials;
  int blocks;
  int64_t columns;
  float* to[2];
};

// A column a lane; the warps share the blocks out.
__global__ void __launch_bounds__(kPartialThreads) add_partial_sums(const __grid_constant__ PartialSums a) {
  SHARED_ARRAY(float, sums, kPartialThreads);
  constexpr int kWarps = kPartialThreads / kWarpSize, kDeep = 4;
  const int lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize;
  const int64_t column = int64_t{blockIdx.x} * kWarpSize + lane;
  float* to = blockIdx.y == 0 ? a.to[0] : a.to[1];
  if (!to) return;
  float sum = 0.0f;
  if (column < a.columns) {
    const float* from = a.partials + blockIdx.y * a.columns + column;
    const int64_t stride = 2 * a.columns;
    int block = warp;
    for (; block + (kDeep - 1) * kWarps < a.blocks; block += kDeep * kWarps) {
      float part[kDeep];
#pragma unroll
      for (int i = 0; i < kDeep; ++i) part[i] = load_constant(from + (block + i * kWarps) * stride)[0];
#pragma unroll
      for (int i = 0; i < kDeep; ++i) sum += part[i];
    }
    for (; block < a.blocks; block += kWarps) sum += load_constant(from + block * stride)[0];
  }
  sums[threadIdx.x] = sum;
  __syncthreads();
  if (warp != 0 || column >= a.columns) return;
  for (int i = 1; i < kWarps; ++i) sum += sums[i * kWarpSize + lane];
  store_float(to + column, load_float(to + column) + sum);
}

inline Status collect_partial_sums(const Gpu& gpu, const PartialSums& a) {
  const dim3 grid(static_cast<unsigned>((a.columns + kWarpSize - 1) / kWarpSize), 2);
  return launch(gpu, LaunchShape{"add_partial_sums", grid, dim3(kPartialThreads)}, add_partial_sums, a);
}

}  // namespace
}  // namespace tilewise::TILEWISE_GPU
