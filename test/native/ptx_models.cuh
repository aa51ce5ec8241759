// One kernel for each instruction of native/cuda/ptx whose result can be told: a warp (of barriers two) takes its problem's input words and
// leaves what the instruction made of them. nvcc's build runs the instruction, the host compiler's its model; ptx_models.cc draws the
// inputs and compares.
#pragma once
#include "cuda/ptx/convert.cuh"
#include "cuda/ptx/copy_async.cuh"
#include "cuda/ptx/matrix_load.cuh"
#include "cuda/ptx/mma.cuh"
#include "cuda/ptx/named_barrier.cuh"

namespace tilewise::TILEWISE_GPU {
namespace models {

constexpr uint32_t kUntouched = 0xdeadbeefu;
constexpr int kTileWords = 128;  // 32 rows of 16 bytes: what four 8 × 8 matrices are

// In: the tile, then for each lane the row that it gives the address of. Out: Count registers a lane.
template <int Count, bool Transposed>
__global__ void load_matrix_kernel(const uint32_t* in, uint32_t* out) {
  SHARED_ARRAY(uint4, tile, 32);
  const int lane = static_cast<int>(threadIdx.x);
  const uint32_t* own = in + blockIdx.x * (kTileWords + 32);
  tile[lane] = uint4{own[4 * lane], own[4 * lane + 1], own[4 * lane + 2], own[4 * lane + 3]};
  __syncwarp();
  const Registers<Count> loaded = load_matrix<Count, Transposed>(tile + own[kTileWords + lane]);
  for (int m = 0; m < Count; ++m) out[(blockIdx.x * 32 + lane) * Count + m] = loaded.r[m];
}

// In: Count registers a lane, then its row. Out: the tile, kUntouched where nothing was stored.
template <int Count, bool Transposed>
__global__ void store_matrix_kernel(const uint32_t* in, uint32_t* out) {
  SHARED_ARRAY(uint4, tile, 32);
  const int lane = static_cast<int>(threadIdx.x);
  const uint32_t* own = in + blockIdx.x * 32 * (Count + 1);
  tile[lane] = uint4{kUntouched, kUntouched, kUntouched, kUntouched};
  __syncwarp();
  Registers<Count> value;
  for (int m = 0; m < Count; ++m) value.r[m] = own[lane * Count + m];
  store_matrix<Count, Transposed>(tile + own[32 * Count + lane], value);
  __syncwarp();
  uint32_t* to = out + blockIdx.x * kTileWords + 4 * lane;
  to[0] = tile[lane].x, to[1] = tile[lane].y, to[2] = tile[lane].z, to[3] = tile[lane].w;
}

// In: a lane's registers of A (4), B (2) and D (4, f32). Out: D.
template <class T>
__global__ void mma_kernel(const uint32_t* in, uint32_t* out) {
  const int lane = static_cast<int>(threadIdx.x);
  const uint32_t* own = in + (blockIdx.x * 32 + lane) * 10;
  const uint32_t a[4] = {own[0], own[1], own[2], own[3]}, b[2] = {own[4], own[5]};
  float d[4];
  for (int i = 0; i < 4; ++i) d[i] = __uint_as_float(own[6 + i]);
  mma<T>(d, a, b);
  for (int i = 0; i < 4; ++i) out[(blockIdx.x * 32 + lane) * 4 + i] = __float_as_uint(d[i]);
}

// In: A [16, 64] and B [8, 64] of 16-bit elements, rows packed. Out: A Bᵀ [16, 8] in f32, by way of swizzled tiles: copied in
// asynchronously, taken out by ldmatrix, multiplied by mma. What a matrix product of native/cuda/prim is made of, in one warp.
template <class T>
__global__ void product_kernel(const uint32_t* in, uint32_t* out) {
  constexpr int kPieces = 8;  // of 16 bytes a row
  SHARED_ARRAY(uint4, a, 16 * kPieces);
  SHARED_ARRAY(uint4, b, 8 * kPieces);
  const int lane = static_cast<int>(threadIdx.x);
  const uint32_t* own = in + blockIdx.x * 4 * 24 * kPieces;
  for (int i = lane; i < 24 * kPieces; i += 32) {
    const int row = i / kPieces, piece = i % kPieces;
    uint4* tile = row < 16 ? a + row * kPieces : b + (row - 16) * kPieces;
    copy_async<16>(tile + (piece ^ (row & 7)), own + 4 * i);
  }
  copy_async_commit();
  copy_async_wait<0>();
  __syncthreads();
  float d[4] = {0, 0, 0, 0};
  for (int step = 0; step < 4; ++step) {
    const int row = lane % 16;
    const Registers<4> fa = load_matrix<4>(a + row * kPieces + ((2 * step + lane / 16) ^ (row & 7)));
    const int column = lane % 8;
    const Registers<2> fb = load_matrix<2>(b + column * kPieces + ((2 * step + lane / 8 % 2) ^ (column & 7)));
    mma<T>(d, fa.r, fb.r);
  }
  uint32_t* to = out + blockIdx.x * 128;
  for (int i = 0; i < 4; ++i) to[(lane / 4 + 8 * (i / 2)) * 8 + 2 * (lane % 4) + i % 2] = __float_as_uint(d[i]);
}

// In: two floats a lane. Out: one word.
template <class T>
__global__ void pack_kernel(const uint32_t* in, uint32_t* out) {
  const unsigned i = blockIdx.x * 32 + threadIdx.x;
  out[i] = pack<T>(__uint_as_float(in[2 * i]), __uint_as_float(in[2 * i + 1]));
}

// In: a float a lane. Out: a word.
static __global__ void to_tf32_kernel(const uint32_t* in, uint32_t* out) {
  const unsigned i = blockIdx.x * 32 + threadIdx.x;
  out[i] = to_tf32(__uint_as_float(in[i]));
}
static __global__ void exp2_kernel(const uint32_t* in, uint32_t* out) {
  const unsigned i = blockIdx.x * 32 + threadIdx.x;
  out[i] = __float_as_uint(exp2_approx(__uint_as_float(in[i])));
}

// In: four words a lane, then how many of its bytes are read. Out: the tile, whose first Bytes of a row were copied to.
template <int Bytes>
__global__ void copy_kernel(const uint32_t* in, uint32_t* out) {
  SHARED_ARRAY(uint4, tile, 32);
  const int lane = static_cast<int>(threadIdx.x);
  const uint32_t* own = in + blockIdx.x * (kTileWords + 32);
  tile[lane] = uint4{kUntouched, kUntouched, kUntouched, kUntouched};
  copy_async<Bytes>(tile + lane, own + 4 * lane, static_cast<int>(own[kTileWords + lane]));
  copy_async_commit();
  copy_async_wait<0>();
  __syncthreads();
  uint32_t* to = out + blockIdx.x * kTileWords + 4 * lane;
  to[0] = tile[lane].x, to[1] = tile[lane].y, to[2] = tile[lane].z, to[3] = tile[lane].w;
}

// In: four words a lane, in a group of copies each. Out: the same words, each read when its group has been waited for and no sooner.
static __global__ void copy_groups_kernel(const uint32_t* in, uint32_t* out) {
  SHARED_ARRAY(uint32_t, tile, kTileWords);
  const int lane = static_cast<int>(threadIdx.x);
  for (int group = 0; group < 4; ++group) {
    copy_async<4>(tile + 32 * group + lane, in + blockIdx.x * kTileWords + 32 * group + lane);
    copy_async_commit();
  }
  uint32_t* to = out + blockIdx.x * kTileWords + lane;
  copy_async_wait<3>();
  to[0] = tile[lane];
  copy_async_wait<2>();
  to[32] = tile[32 + lane];
  copy_async_wait<1>();
  to[64] = tile[64 + lane];
  copy_async_wait<0>();
  to[96] = tile[96 + lane];
}

// In: a word for each lane of a warp. Out: its complement, there and back again between two warps, each of which must wait for the other.
static __global__ void named_barrier_kernel(const uint32_t* in, uint32_t* out) {
  SHARED_ARRAY(uint32_t, forth, 32);
  SHARED_ARRAY(uint32_t, back, 32);
  const int lane = static_cast<int>(threadIdx.x) % 32;
  if (threadIdx.x < 32) {
    forth[lane] = in[blockIdx.x * 32 + lane];
    named_barrier_arrive(1, 64);
    named_barrier_sync(2, 64);
    out[blockIdx.x * 32 + lane] = back[31 - lane];
  } else {
    named_barrier_sync(1, 64);
    back[lane] = ~forth[31 - lane];
    named_barrier_arrive(2, 64);
  }
}

}  // namespace models
}  // namespace tilewise::TILEWISE_GPU
