// How a factor's tile lies in shared memory, and how a warp takes its fragments from there without bank conflicts.
//
// A stage is 64 bytes of k deep. Where k is contiguous, a line (a row of A, a column of B) is 64 bytes: four chunks of 16. Where lines are
// contiguous, each k is a row of chunks. Chunks are permuted by an xor with bits of their row's number, so that the eight rows of a matrix
// that ldmatrix takes at once, and the lanes' words for 32-bit elements, lie in different banks; whoever writes a row still writes it
// whole.
#pragma once
#include "../gemm.h"
#include "../ptx/mma.cuh"
#include "../tune.h"
#include "vector.cuh"

namespace tilewise::TILEWISE_GPU {

template <class T, Major major, int Lines>
struct SharedTile {
  static constexpr int kDepth = GemmTiles::kDepthBytes / sizeof(T);  // elements of k
  static constexpr int kChunk = 16 / sizeof(T);                      // elements
  static constexpr int kRows = major == Major::k ? Lines : kDepth;
  static constexpr int kRowBytes = major == Major::k ? GemmTiles::kDepthBytes : Lines * static_cast<int>(sizeof(T));
  static constexpr int kRowChunks = kRowBytes / 16;
  static constexpr int kBytes = Lines * GemmTiles::kDepthBytes;

  // Rows this far apart are permuted alike.
  static constexpr int kPeriod = 8;
  static __device__ __forceinline__ int swizzle(int row) {
    if constexpr (major == Major::k)
      return row >> 1 & 3;  // two rows fill the banks
    else if constexpr (sizeof(T) == 2)
      return row & 7;
    else
      return 2 * (row & 3);  // a lane's four rows of k take two chunks each
  }
  static __device__ __forceinline__ int offset(int row, int chunk) { return row * kRowBytes + ((chunk ^ swizzle(row)) << 4); }
};

// What the tensor core is told the elements are.
template <class T>
using MmaType = std::conditional_t<std::is_same_v<T, float>, tf32, T>;

// Fragments of A for Blocks times 16 rows, from `line`, a multiple of their number. Where the tile's layout allows one address a lane for
// all of them, `at` is it: constants are added to bits above the permuted ones and xored into those.
template <class T, Major major, int Lines, int Blocks>
struct FragmentsA {
  using Tile = SharedTile<T, major, Lines>;
  int at;

  __device__ __forceinline__ FragmentsA(int line, int lane) {
    if constexpr (major == Major::k)
      at = Tile::offset(line + lane % 16, lane / 16);
    else if constexpr (sizeof(T) == 2)
      at = Tile::offset(lane % 8 + lane / 16 * 8, line / 8 + lane / 8 % 2);
    else
      at = Tile::offset(lane % 4, (line + lane / 4) / 4) + lane / 4 % 4 * 4;
  }
  // step: which 32 bytes of k.
  __device__ __forceinline__ void load(const unsigned char* tile, int step, uint32_t (&a)[Blocks][4]) const {
#pragma unroll
    for (int i = 0; i < Blocks; ++i) {
      if constexpr (major == Major::k) {
        const auto m = load_matrix<4>(tile + ((at ^ 32 * step) + i * 16 * Tile::kRowBytes));
#pragma unroll
        for (int r = 0; r < 4; ++r) a[i][r] = m.r[r];
      } else if constexpr (sizeof(T) == 2) {
        const auto m = load_matrix<4, true>(tile + ((at ^ 32 * i) + step * 16 * Tile::kRowBytes));
#pragma unroll
        for (int r = 0; r < 4; ++r) a[i][r] = m.r[r];
      } else {
#pragma unroll
        for (int r = 0; r < 4; ++r) {
          const int from = (at ^ (64 * i + 32 * (r % 2))) + (8 * step + 4 * (r / 2)) * Tile::kRowBytes;
          a[i][r] = load_shared(reinterpret_cast<const uint32_t*>(tile + from))[0];
        }
      }
    }
  }
};

// Fragments of B for Blocks times 8 columns.
template <class T, Major major, int Lines, int Blocks>
struct FragmentsB {
  using Tile = SharedTile<T, major, Lines>;
  static_assert(Blocks % 2 == 0);
  int at;

  __device__ __forceinline__ FragmentsB(int line, int lane) {
    if constexpr (major == Major::k)
      at = Tile::offset(line + lane % 8 + lane / 16 * 8, lane / 8 % 2);
    else if constexpr (sizeof(T) == 2)
      at = Tile::offset(lane % 16, line / 8 + lane / 16);
    else
      at = Tile::offset(lane % 4, (line + lane / 4) / 4) + lane / 4 % 4 * 4;
  }
  __device__ __forceinline__ void load(const unsigned char* tile, int step, uint32_t (&b)[Blocks][2]) const {
    if constexpr (major == Major::k || sizeof(T) == 2) {
#pragma unroll
      for (int i = 0; i < Blocks; i += 2) {
        Registers<4> m;
        if constexpr (major == Major::k)
          m = load_matrix<4>(tile + ((at ^ 32 * step) + i * 8 * Tile::kRowBytes));
        else
          m = load_matrix<4, true>(tile + ((at ^ 16 * i) + step * 16 * Tile::kRowBytes));
        b[i][0] = m.r[0], b[i][1] = m.r[1], b[i + 1][0] = m.r[2], b[i + 1][1] = m.r[3];
      }
    } else {
#pragma unroll
      for (int i = 0; i < Blocks; ++i)
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          const int from = (at ^ 32 * i) + (8 * step + 4 * r) * Tile::kRowBytes;
          b[i][r] = load_shared(reinterpret_cast<const uint32_t*>(tile + from))[0];
        }
    }
  }
};

// An f32 as the sum of two tf32: the nearest one, and that of what it leaves. `cross` stands for `high` in products with a low part: the
// same but where it is not finite, as infinity times a low part, of any sign, would not be what IEEE says. One comparison serves all three,
// and the low part's lower bits are left to the tensor core, which does not look at them: 8 instructions, where to_tf32 twice makes it 11.
struct SplitFloat {
  uint32_t high, low, cross;
  __device__ __forceinline__ explicit SplitFloat(uint32_t bits) {
    constexpr uint32_t kHalf = 0x1000, kMask = 0xffffe000;  // half of a tf32's last bit, and the bits that it has
    constexpr float kRoundsToInfinity = 0x1.ffep127f;       // from here on
    const float x = __uint_as_float(bits);
    const bool finite = fabsf(x) < kRoundsToInfinity;  // false for NaN
    high = finite ? (bits + kHalf) & kMask : bits;
    low = finite ? __float_as_uint(x - __uint_as_float(high)) + kHalf : 0;
    cross = finite ? high : 0;
  }
};

// acc += a b. f32 factors take three products unless tf32 is allowed: x y = high high + high low + low high, and what is left out is 2^-22
// of it. The last two, which come first, are added to `small`: acc itself, or sums of their own, which spare acc two roundings in three.
template <class T, int M, int N>
__device__ __forceinline__ void multiply(float (&acc)[M][N][4], float (&small)[M][N][4], const uint32_t (&a)[M][4],
                                         const uint32_t (&b)[N][2], bool tf32_allowed) {
  if constexpr (sizeof(T) == 2) {
#pragma unroll
    for (int i = 0; i < M; ++i)
#pragma unroll
      for (int j = 0; j < N; ++j) mma<T>(acc[i][j], a[i], b[j]);
  } else if (tf32_allowed) {
    uint32_t rounded[N][2];
#pragma unroll
    for (int j = 0; j < N; ++j)
#pragma unroll
      for (int r = 0; r < 2; ++r) rounded[j][r] = to_tf32(__uint_as_float(b[j][r]));
#pragma unroll
    for (int i = 0; i < M; ++i) {
      uint32_t row[4];
#pragma unroll
      for (int r = 0; r < 4; ++r) row[r] = to_tf32(__uint_as_float(a[i][r]));
#pragma unroll
      for (int j = 0; j < N; ++j) mma<tf32>(acc[i][j], row, rounded[j]);
    }
  } else {
    uint32_t high[N][2], low[N][2], cross[N][2];
#pragma unroll
    for (int j = 0; j < N; ++j)
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const SplitFloat s(b[j][r]);
        high[j][r] = s.high, low[j][r] = s.low, cross[j][r] = s.cross;
      }
#pragma unroll
    for (int i = 0; i < M; ++i) {
      uint32_t row_high[4], row_low[4], row_cross[4];
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        const SplitFloat s(a[i][r]);
        row_high[r] = s.high, row_low[r] = s.low, row_cross[r] = s.cross;
      }
#pragma unroll
      for (int j = 0; j < N; ++j) mma<tf32>(small[i][j], row_low, cross[j]);
#pragma unroll
      for (int j = 0; j < N; ++j) mma<tf32>(small[i][j], row_cross, low[j]);
#pragma unroll
      for (int j = 0; j < N; ++j) mma<tf32>(acc[i][j], row_high, high[j]);
    }
  }
}

}  // namespace tilewise::TILEWISE_GPU
