// Tiles of rows in shared memory and their products by tensor cores, for attention. A warp works on blocks of 16 rows of one tile against
// the rows of another: scores come out in mma's D layout, in which a lane holds columns 2t and 2t + 1 of rows g and g + 8 of each block (g
// = lane / 4, t = lane % 4), and go into the next product as its A operand without leaving the registers. What is read of the other tile
// serves all blocks of the warp: shared memory gives 128 bytes a cycle, which is half a B operand, and Hopper's tensor cores could take
// one.
//
// f32 is three products of tf32: x = high + low, each of 11 bits; low * low, below 2^-22 of the product, is left out. Where the device may
// round to tf32, it is the product of the high parts alone.
#pragma once
#include "../cuda.h"
#include "../ptx/copy_async.cuh"
#include "../ptx/mma.cuh"
#include "attention_problem.cuh"

namespace tilewise::TILEWISE_GPU::attention_tile {

template <class T>
constexpr int kChunk = 16 / static_cast<int>(sizeof(T));  // elements in 16 bytes
template <class T>
constexpr int kDepth = 32 / static_cast<int>(sizeof(T));  // of one mma: two chunks

// Columns come and go in groups of 32: enough products between two branches to hide their latency.
constexpr int kGroup = 32;

// Rows of a tile that is read again and again: 16 KB at most, so that two stages of two such tiles leave room for the rows that stay.
template <class T, int P>
constexpr int kTileRows = (sizeof(T) == 2 ? 2 : 1) * (P == 256 ? 16 : 32);

// Where 16 bytes of a row lie. The exclusive or spreads eight rows of a column over all banks, for ldmatrix; and rows 0, 2, 4, 6 (or the
// odd ones) of two neighbouring chunks, for what f32 reads instead of a transposing ldmatrix.
template <class T, int P>
__device__ __forceinline__ int tile_at(int row, int chunk) {
  return row * P + (chunk ^ (row & 7)) * kChunk<T>;
}

// Rows [0, rows) of a tile are rows [first, first + rows) of the source; those outside [begin, end) or within the gap become zeros: what
// lies there may be anything.
struct RowRange {
  int begin, end, gap_begin, gap_end;
  __device__ __forceinline__ bool has(int row) const { return row >= begin && row < end && (row < gap_begin || row >= gap_end); }
};

// Loads columns [0, dim), zeros up to a whole group, or up to P (kWhole). Asynchronous where rows are aligned: the caller commits, waits
// and synchronizes. Rows: HeadRows, or PagedRows of a paged cache. `threads` are the block's; the loop unrolls where rows and threads are
// constants.
//
// Eight lanes take 128 bytes of a row at a time. What a thread copies of a row lies 128 bytes apart in both memories, and rows that a
// thread copies differ by multiples of 8 but in the smallest blocks, so that an address is an addition.
template <class T, int P, bool kWhole = false, class Rows>
__device__ __forceinline__ void load_tile(T* tile, int rows, const Rows& from, int first, const RowRange& range, int dim, int threads) {
  constexpr int kPer = kChunk<T>, kLine = 8 * kPer, kChunks = P / kPer;
  const int used = kWhole ? P : (dim + kGroup - 1) / kGroup * kGroup;
  if (from.vectors && dim % kPer == 0) {
    const int own = threadIdx.x / 8, column = threadIdx.x % 8 * kPer, step = threads / 8;
#pragma unroll 4
    for (int start = 0; start < rows; start += step) {
      const int row = start + own;
      if (start + step > rows && row >= rows) break;
      const bool present = range.has(first + row) && from.has(first + row);
      const T* const source = (present ? from.at(first + row) : from.base) + column;
      T* const to = tile + tile_at<T, P>(row, threadIdx.x % 8);
#pragma unroll
      for (int line = 0; line < P; line += kLine)
        if (column + line < used) copy_async<16>(to + line, source + line, present && column + line < dim ? 16 : 0);
    }
    return;
  }
#pragma unroll 1
  for (int at = threadIdx.x; at < rows * kChunks; at += threads) {
    const int row = at / kChunks, chunk = at % kChunks, column = chunk * kPer;
    if (column >= used) continue;
    T* to = tile + tile_at<T, P>(row, chunk);
    const int valid = range.has(first + row) && from.has(first + row) ? min(max(dim - column, 0), kPer) : 0;
    const T* source = valid > 0 ? from.at(first + row) + column : from.base;
    if (from.vectors) {
      copy_async<16>(to, source, valid * static_cast<int>(sizeof(T)));
    } else {
      Vec<T, kPer> values;
#pragma unroll
      for (int i = 0; i < kPer; ++i) values[i] = i < valid ? load(source + i)[0] : T(0.0f);
      store_shared<kPer>(to, values);
    }
  }
}
template <class T, int P, class Rows>
__device__ __forceinline__ void load_tile(T* tile, int rows, const Rows& from, int first, const RowRange& range, int dim) {
  load_tile<T, P>(tile, rows, from, first, range, dim, blockDim.x);
}

// Two stages of two tiles each, kRows rows of x and the same of y: one is loaded while the other is used.
template <int P, int kRows, class T>
__device__ __forceinline__ T* stage_of(T* stages, int index) {
  return stages + index % 2 * (2 * kRows * P);
}
template <int P, int kRows, class T, class Rows>
__device__ __forceinline__ void load_stage(T* stages, int index, const Rows& x, const Rows& y, int first, const RowRange& range, int x_dim,
                                           int y_dim, int threads) {
  T* const to = stage_of<P, kRows>(stages, index);
  load_tile<T, P>(to, kRows, x, first, range, x_dim, threads);
  load_tile<T, P>(to + kRows * P, kRows, y, first, range, y_dim, threads);
}
template <int P, int kRows, class T, class Rows>
__device__ __forceinline__ void load_stage(T* stages, int index, const Rows& x, const Rows& y, int first, const RowRange& range, int x_dim,
                                           int y_dim) {
  load_stage<P, kRows>(stages, index, x, y, first, range, x_dim, y_dim, blockDim.x);
}

// How the operands of a product are given to the tensor core: 16-bit types as they are, f32 as one tf32 or as two.
enum class Operands { plain, rounded, split };

// An operand of mma: N registers, and for split ones what tf32 leaves of them.
template <class T, int N, Operands kOperands>
struct Fragment {
  uint32_t high[N], low[kOperands == Operands::split ? N : 1];

  __device__ __forceinline__ void set(int i, uint32_t bits) {
    if constexpr (kOperands == Operands::plain) {
      high[i] = bits;
    } else {
      high[i] = to_tf32(__uint_as_float(bits));
      if constexpr (kOperands == Operands::split) low[i] = to_tf32(__uint_as_float(bits) - __uint_as_float(high[i]));
    }
  }
};

// kSwapped: the operands have changed places. The order of the three products then changes with them, so that a · b and b · a are the same
// bits (kernels that compute a matrix and its transpose rely on it).
template <bool kSwapped, class T, Operands kOperands>
__device__ __forceinline__ void multiply(float (&d)[4], const Fragment<T, 4, kOperands>& a, const Fragment<T, 2, kOperands>& b, SITE) {
  if constexpr (kOperands == Operands::split) {
    mma<tf32>(d, kSwapped ? a.high : a.low, kSwapped ? b.low : b.high, site);
    mma<tf32>(d, kSwapped ? a.low : a.high, kSwapped ? b.high : b.low, site);
  }
  mma<std::conditional_t<kOperands == Operands::plain, T, tf32>>(d, a.high, b.high, site);
}

namespace detail {

// Where a lane's row and chunk lie in a tile. Rows further down by a multiple of 8 are permuted alike, and an even chunk is added by an
// exclusive or of three bits and an addition: with constants for both, a tile takes four exclusive ors for all its addresses.
template <class T, int P>
struct LaneAddress {
  int at;
  __device__ __forceinline__ LaneAddress(int row, int chunk) : at(tile_at<T, P>(row, chunk)) {}
  __device__ __forceinline__ const T* of(const T* tile, int rows, int chunks) const {
    return tile + (at ^ chunks % 8 * kChunk<T>)+(rows * P + chunks / 8 * 8 * kChunk<T>);
  }
};

template <class T, int P, bool kSwapped, Operands kOperands, int kBlocks, int kTiles>
__device__ __forceinline__ void multiply_rows(float (&d)[kBlocks][kTiles][4], const T* a, int a_row, const T* b, int dim) {
  constexpr int kGroupSteps = kGroup / kDepth<T>;
  const int lane = threadIdx.x % kWarpSize;
  const LaneAddress<T, P> rows_at(a_row + lane % 16, lane / 16), columns_at(lane / 16 * 8 + lane % 8, lane / 8 % 2);
#pragma unroll(sizeof(T) == 2 ? P / kGroup : 1)
  for (int group = 0; group < P / kGroup; ++group) {
    if (group * kGroup >= dim) break;
#pragma unroll
    for (int step = group * kGroupSteps; step < (group + 1) * kGroupSteps; ++step) {
      Fragment<T, 4, kOperands> fa[kBlocks];
#pragma unroll
      for (int m = 0; m < kBlocks; ++m) {
        const auto rows = load_matrix<4>(rows_at.of(a, 16 * m, 2 * step));
#pragma unroll
        for (int i = 0; i < 4; ++i) fa[m].set(i, rows.r[i]);
      }
#pragma unroll
      for (int n = 0; n < kTiles; n += 2) {
        const auto columns = load_matrix<4>(columns_at.of(b, 8 * n, 2 * step));
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          Fragment<T, 2, kOperands> fb;
          fb.set(0, columns.r[2 * half]);
          fb.set(1, columns.r[2 * half + 1]);
#pragma unroll
          for (int m = 0; m < kBlocks; ++m) multiply<kSwapped>(d[m][n + half], fa[m], fb);
        }
      }
    }
  }
}

// w in D's layout as A operands. The depth index of a product is anyone's to permute: f32 takes w's columns 2t and 2t + 1 where the A
// operand wants t and t + 4, which is how they lie, and multiply_columns reads b's rows accordingly.
template <class T, Operands kOperands, int kBlocks, int kTiles>
__device__ __forceinline__ void to_operands(Fragment<T, 4, kOperands> (&a)[kBlocks][kTiles * 8 / kDepth<T>],
                                            const float (&w)[kBlocks][kTiles][4]) {
#pragma unroll
  for (int m = 0; m < kBlocks; ++m)
#pragma unroll
    for (int step = 0; step < kTiles * 8 / kDepth<T>; ++step) {
      if constexpr (sizeof(T) == 4) {
        a[m][step].set(0, __float_as_uint(w[m][step][0]));
        a[m][step].set(1, __float_as_uint(w[m][step][2]));
        a[m][step].set(2, __float_as_uint(w[m][step][1]));
        a[m][step].set(3, __float_as_uint(w[m][step][3]));
      } else {
#pragma unroll
        for (int i = 0; i < 4; ++i) a[m][step].set(i, pack<T>(w[m][2 * step + i / 2][i % 2 * 2], w[m][2 * step + i / 2][i % 2 * 2 + 1]));
      }
    }
}

template <class T, int P, Operands kOperands, int kBlocks, int kSteps, int kColumnTiles>
__device__ __forceinline__ void multiply_columns(float (&d)[kBlocks][kColumnTiles][4],
                                                 const Fragment<T, 4, kOperands> (&a)[kBlocks][kSteps], const T* b, int column,
                                                 int columns) {
  constexpr int kGroupTiles = kGroup / 8;
  const int lane = threadIdx.x % kWarpSize, g = lane / 4, t = lane % 4;
  const LaneAddress<T, P> rows_at(lane % 16, column / 8 + lane / 16);  // of a 16-bit type; `column` is a multiple of 64
#pragma unroll
  for (int group = 0; group < kColumnTiles / kGroupTiles; ++group) {
    if (group * kGroup >= columns) break;
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
#pragma unroll
      for (int n = group * kGroupTiles; n < (group + 1) * kGroupTiles; n += 2) {
        Fragment<T, 2, kOperands> fb[2];
        if constexpr (sizeof(T) == 4) {
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            const int at = column + 8 * (n + half) + g;
#pragma unroll
            for (int i = 0; i < 2; ++i)
              fb[half].set(i, __float_as_uint(load_shared(b + tile_at<T, P>(8 * step + 2 * t + i, at / 4) + at % 4)[0]));
          }
        } else {
          const auto rows = load_matrix<4, true>(rows_at.of(b, 16 * step, n));
#pragma unroll
          for (int i = 0; i < 4; ++i) fb[i / 2].set(i % 2, rows.r[i]);
        }
#pragma unroll
        for (int m = 0; m < kBlocks; ++m) {
          multiply<false>(d[m][n], a[m][step], fb[0]);
          multiply<false>(d[m][n + 1], a[m][step], fb[1]);
        }
      }
    }
  }
}

template <class T, int P, Operands kOperands, int kBlocks, int kTiles, int kColumnTiles>
__device__ __forceinline__ void multiply_columns(float (&d)[kBlocks][kColumnTiles][4], const float (&w)[kBlocks][kTiles][4], const T* b,
                                                 int column, int columns) {
  Fragment<T, 4, kOperands> a[kBlocks][kTiles * 8 / kDepth<T>];
  to_operands(a, w);
  multiply_columns<T, P, kOperands>(d, a, b, column, columns);
}

}  // namespace detail

// d[m][n] += rows [a_row + 16m, a_row + 16m + 16) of a times rows [8n, 8n + 8) of b, over `dim` columns.
template <class T, int P, bool kSwapped = false, int kBlocks, int kTiles>
__device__ __forceinline__ void multiply_rows(float (&d)[kBlocks][kTiles][4], const T* a, int a_row, const T* b, int dim,
                                              bool tf32_allowed) {
  if constexpr (sizeof(T) == 2)
    detail::multiply_rows<T, P, kSwapped, Operands::plain>(d, a, a_row, b, dim);
  else if (tf32_allowed)
    detail::multiply_rows<T, P, kSwapped, Operands::rounded>(d, a, a_row, b, dim);
  else
    detail::multiply_rows<T, P, kSwapped, Operands::split>(d, a, a_row, b, dim);
}

// d[m][n] += w[m] times columns [column + 8n, column + 8n + 8) of b: w[m] is 16 × (8 kTiles) in D's layout, b has a row for each of its
// columns. Only the groups of columns before `columns` are computed.
template <class T, int P, int kBlocks, int kTiles, int kColumnTiles>
__device__ __forceinline__ void multiply_columns(float (&d)[kBlocks][kColumnTiles][4], const float (&w)[kBlocks][kTiles][4], const T* b,
                                                 int column, int columns, bool tf32_allowed) {
  if constexpr (sizeof(T) == 2)
    detail::multiply_columns<T, P, Operands::plain>(d, w, b, column, columns);
  else if (tf32_allowed)
    detail::multiply_columns<T, P, Operands::rounded>(d, w, b, column, columns);
  else
    detail::multiply_columns<T, P, Operands::split>(d, w, b, column, columns);
}

// 16-bit w as it goes into the product above, in half the registers; and the product.
template <class T, int kBlocks, int kTiles>
__device__ __forceinline__ void pack_rows(Fragment<T, 4, Operands::plain> (&packed)[kBlocks][kTiles / 2],
                                          const float (&w)[kBlocks][kTiles][4]) {
  detail::to_operands(packed, w);
}
template <class T, int P, int kBlocks, int kSteps, int kColumnTiles>
__device__ __forceinline__ void multiply_columns(float (&d)[kBlocks][kColumnTiles][4],
                                                 const Fragment<T, 4, Operands::plain> (&packed)[kBlocks][kSteps], const T* b, int column,
                                                 int columns) {
  detail::multiply_columns<T, P, Operands::plain>(d, packed, b, column, columns);
}

// Of keys at, at + 1, at + 8, at + 9, … of kTiles tiles those before `end`, a bit each.
template <int kTiles>
__device__ __forceinline__ uint32_t keys_before(int end) {
  static_assert(2 * kTiles < 32);
  const uint32_t even = (1u << 2 * min(max((end + 7) >> 3, 0), kTiles)) - 1, odd = (1u << 2 * min(max((end + 6) >> 3, 0), kTiles)) - 1;
  return (even & 0x55555555u) | (odd & 0xaaaaaaaau);
}

// Bias and masks on scores in units of log2. The lane's rows are `row` and row + 8 of those that `group` heads from first_head on share,
// its columns stand for keys `key`, key + 1, key + 8, …; keys from key_end on and rows from row_end on are hidden. What a row sees is found
// as bits, by loops that do not touch the scores: their registers leave no room for many loads at once.
template <int kTiles>
__device__ __forceinline__ void mask_scores(float (&scores)[kTiles][4], const AttentionProblem& p, const AttentionSequence& s, int group,
                                            int first_head, int row, int row_end, int key, int key_end) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int i = group == 1 ? row + 8 * half : (row + 8 * half) / group;
    const MaskRow mask(p, s, i, first_head + row + 8 * half - i * group);
    // Keys that are seen as the mask says, and extra ones, which always are.
    const int end = row + 8 * half < row_end ? key_end - key : -key;
    uint32_t seen = keys_before<kTiles>(min(end, mask.high - key)) & ~keys_before<kTiles>(mask.low - key);
    if (mask.keep) {
      const uint8_t* const keep = mask.keep + key * p.keep.strides[3];
      uint32_t kept = 0;
#pragma unroll 4
      for (int n = 0; n < kTiles; ++n) {
        const int64_t at = 8 * n * p.keep.strides[3];
        if (seen >> 2 * n & 1) kept |= (load(keep + at)[0] != 0 ? 1u : 0u) << 2 * n;
        if (seen >> 2 * n & 2) kept |= (load(keep + at + p.keep.strides[3])[0] != 0 ? 2u : 0u) << 2 * n;
      }
      seen = kept;
    }
    if (mask.bias) {
      const float* const bias = mask.bias + key * p.bias.strides[3];
#pragma unroll
      for (int n = 0; n < kTiles; ++n)
#pragma unroll
        for (int c = 0; c < 2; ++c) {
          if ((seen >> (2 * n + c) & 1) == 0) continue;
          const float add = load_float(bias + (8 * n + c) * p.bias.strides[3]);
          float& score = scores[n][2 * half + c];
          score = add == -INFINITY ? add : score + add * kLog2E;
        }
    }
    if (p.extra > 0) seen |= keys_before<kTiles>(end) & ~keys_before<kTiles>(s.masked_keys - key);
#pragma unroll
    for (int n = 0; n < kTiles; ++n)
#pragma unroll
      for (int c = 0; c < 2; ++c)
        if ((seen >> (2 * n + c) & 1) == 0) scores[n][2 * half + c] = -INFINITY;
  }
}

template <int kBlocks, int kTiles>
__device__ __forceinline__ void scale(float (&d)[kBlocks][kTiles][4], float factor) {
#pragma unroll
  for (int m = 0; m < kBlocks; ++m)
#pragma unroll
    for (int n = 0; n < kTiles; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) d[m][n][i] *= factor;
}

template <int kBlocks, int kTiles>
__device__ __forceinline__ void clear(float (&d)[kBlocks][kTiles][4]) {
#pragma unroll
  for (int m = 0; m < kBlocks; ++m)
#pragma unroll
    for (int n = 0; n < kTiles; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) d[m][n][i] = 0.0f;
}

// Writes a block of 16 rows, d, times a factor for each of a lane's two rows, to rows [first, first + 16) of `to` that lie before `end`,
// columns [column, dim). Through 16 rows of a tile that no other warp uses any more, so that whole rows go out 16 bytes a lane.
template <class T, int P, int kColumnTiles>
__device__ __forceinline__ void store_rows(const float (&d)[kColumnTiles][4], const float (&factor)[2], T* stage, const HeadRows<T>& to,
                                           int first, int end, int column, int dim) {
  constexpr int kPer = kChunk<T>, kChunks = kColumnTiles * 8 / kPer;
  const int lane = threadIdx.x % kWarpSize, g = lane / 4, t = lane % 4;
  __syncwarp();  // all lanes have read what lay here
#pragma unroll
  for (int n = 0; n < kColumnTiles; ++n) {
    if (column + 8 * n >= dim) break;
    const int at = 8 * n + 2 * t;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const Vec<T, 2> pair = {{T(d[n][2 * half] * factor[half]), T(d[n][2 * half + 1] * factor[half])}};
      store_shared<2>(stage + tile_at<T, P>(g + 8 * half, at / kPer) + at % kPer, pair);
    }
  }
  __syncwarp();
  for (int at = lane; at < 16 * kChunks; at += kWarpSize) {
    const int row = at / kChunks, chunk = at % kChunks, from = column + chunk * kPer;
    if (first + row >= end || from >= dim) continue;
    const T* staged = stage + tile_at<T, P>(row, chunk);
    T* target = to.at(first + row) + from;
    if (to.vectors && from + kPer <= dim) {
      store<kPer>(target, load_shared<kPer>(staged));
    } else {
      for (int i = 0; i < kPer && from + i < dim; ++i) store<1>(target + i, load_shared(staged + i));
    }
  }
}

// --- for launchers

// 16 × warps rows of `row_tiles` tiles beside `fixed` bytes: as many warps as there is work and room for.
inline int attention_warps(const Gpu& gpu, int64_t rows, int most, size_t fixed, size_t per_warp) {
  int warps = most;
  while (warps > 1 && (16 * int64_t{warps} / 2 >= rows || fixed + per_warp * warps > gpu.shared_per_block)) warps /= 2;
  return warps;
}

template <class Body>
Status dispatch_head_dim(const char* op, int64_t dim, int64_t value_dim, Body&& body) {
  const int64_t widest = dim > value_dim ? dim : value_dim;
  if (widest <= 64) return body(std::integral_constant<int, 64>{});
  if (widest <= 128) return body(std::integral_constant<int, 128>{});
  if (widest <= 256) return body(std::integral_constant<int, 256>{});
  return unsupported(std::string(op) + " with a head dimension of " + std::to_string(widest) + ", above 256,");
}

}  // namespace tilewise::TILEWISE_GPU::attention_tile
