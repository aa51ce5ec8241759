// Work on contiguous rows. Short ones belong to some lanes of a warp each, long ones to a block; what a thread holds of its row stays in
// registers, so that no row is read twice. Rows are read in pieces of 16 bytes. A row too long for a block's registers, or not made of
// whole aligned pieces, is read in tiles, twice: the second time mostly from a cache.
#pragma once
#include "dispatch.h"
#include "reduce.cuh"
#include "vector.cuh"

namespace tilewise::TILEWISE_GPU {

constexpr int kLaneRowThreads = 128;   // of a block whose warps hold rows
constexpr int kBlockRowThreads = 512;  // the most of a block that holds one
constexpr int kScalarPieces = 4;       // of an element, that a thread holds at a time where rows are not aligned

// How rows of n elements are shared out.
struct RowPlan {
  enum class Kind { lanes, block, tiles, scalar_tiles } kind;
  int width;  // threads a row: a power of two up to 32, or the block's

  // held: 16-byte pieces that a thread can hold. aligned: whether all tensors start at 16 bytes.
  RowPlan(int64_t n, size_t element_bytes, int held, bool aligned) {
    const int64_t per = static_cast<int64_t>(16 / element_bytes);
    const bool vectors = aligned && n % per == 0;
    const int64_t each = vectors ? held : kScalarPieces, threads = ((vectors ? n / per : n) + each - 1) / each;
    if (vectors && threads <= kWarpSize) {
      kind = Kind::lanes;
      for (width = 1; width < threads;) width *= 2;
      return;
    }
    kind = !vectors ? Kind::scalar_tiles : threads <= kBlockRowThreads ? Kind::block : Kind::tiles;
    const int64_t warps = (threads + kWarpSize - 1) / kWarpSize;
    width = warps * kWarpSize < kBlockRowThreads ? static_cast<int>(warps) * kWarpSize : kBlockRowThreads;
  }
  int threads() const { return kind == Kind::lanes ? kLaneRowThreads : width; }
  int rows_per_block() const { return kind == Kind::lanes ? kLaneRowThreads / width : 1; }
  dim3 grid(int64_t rows) const { return dim3(static_cast<unsigned>((rows + rows_per_block() - 1) / rows_per_block())); }
};

// The threads of a row, for kernels.
template <bool kBlock>
struct RowTeam {
  int width, member;
  int slot;  // which of the block's rows

  __device__ __forceinline__ explicit RowTeam(int team_width)
      : width(kBlock ? static_cast<int>(blockDim.x) : team_width),
        member(kBlock ? static_cast<int>(threadIdx.x) : static_cast<int>(threadIdx.x) & (team_width - 1)),
        slot(kBlock ? 0 : static_cast<int>(threadIdx.x) / team_width) {}

  __device__ __forceinline__ int slots() const { return kBlock ? 1 : kLaneRowThreads / width; }

  // Over the row; every thread of the block calls it, and gets its row's result.
  template <class F, int Count>
  __device__ __forceinline__ void reduce(float (&values)[Count]) const {
    if constexpr (kBlock) {
      block_reduce<F>(values);
    } else {
#pragma unroll
      for (int lanes = kWarpSize / 2; lanes > 0; lanes /= 2) {
        if (lanes >= width) continue;
#pragma unroll
        for (int i = 0; i < Count; ++i) values[i] = F::join(values[i], __shfl_xor_sync(kFullMask, values[i], lanes));
      }
    }
  }
  template <class F>
  __device__ __forceinline__ float reduce(float value) const {
    float values[1] = {value};
    reduce<F>(values);
    return values[0];
  }
};

// What a thread holds of a row: tile[k] is piece from + member + k * width, if the row has one.
template <class T, int N, int K, class Team>
__device__ __forceinline__ void load_tile(const Team& team, const T* row, int from, int pieces, Vec<T, N> (&tile)[K], SITE) {
#pragma unroll
  for (int k = 0; k < K; ++k) {
    const int at = from + team.member + k * team.width;
    if (at < pieces) tile[k] = load_constant<N>(row + int64_t{at} * N, site);
  }
}

// The same, as it lies in memory.
template <class T, int N, int K, class Team>
__device__ __forceinline__ void load_tile(const Team& team, const T* row, int from, int pieces, Packed<T, N> (&tile)[K], SITE) {
#pragma unroll
  for (int k = 0; k < K; ++k) {
    const int at = from + team.member + k * team.width;
    if (at < pieces) tile[k] = Packed<T, N>(load_constant<N>(row + int64_t{at} * N, site));
  }
}

}  // namespace tilewise::TILEWISE_GPU
