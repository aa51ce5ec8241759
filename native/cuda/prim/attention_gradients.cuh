// What the kernels of attention's gradients share: the tensors, which pairs of queries and keys see each other, and how many warps a block
// has.
#pragma once
#include "attention_weights.cuh"

namespace tilewise::TILEWISE_GPU::attention_tile {

struct AttentionGradients {
  AttentionProblem p;
  AttentionTensor q, k, v, output, doutput, dq, dk, dv;
  AttentionDropout dropout;
  const float* log_sum_exp;
  float *log2_sum, *delta;  // of each query row, [rows, H]: from the kernel that owns queries for the one that owns keys
  int row_tiles, key_tiles;

  template <class Args>
  AttentionGradients(const Gpu& gpu, const Args& a)
      : p(gpu, a),
        q(a.q),
        k(a.k),
        v(a.v),
        output(a.output),
        doutput(a.doutput),
        dq(a.dq),
        dk(a.dk),
        dv(a.dv),
        dropout(a.dropout, a.seed, a.counter),
        log_sum_exp(a.log_sum_exp.template as<const float>()),
        log2_sum(nullptr),
        delta(nullptr),
        row_tiles(0),
        key_tiles(0) {}

  // Of a packed row in the tensors [rows, H] beside q.
  __device__ __forceinline__ int64_t statistic(const AttentionSequence& s, int kv_head, int row) const {
    const int i = p.query_of(row);
    return s.query_row(p, i) * p.heads + kv_head * p.group + row - i * p.group;
  }
  __device__ __forceinline__ uint64_t element(const AttentionSequence& s, int kv_head, int row) const {
    const int i = p.query_of(row);
    return AttentionDropout::row(p, s.b, kv_head * p.group + row - i * p.group, i);
  }
};

constexpr int kMostGradientWarps = 8;

// Blocks of 16 rows that a warp sums: two, so that what it reads of the other tile serves two products, where the sums leave room for the
// scores.
template <class T, int P>
constexpr int kSumBlocks = sizeof(T) == 2 && P <= 128 ? 2 : 1;

// Columns of scores, and of their gradients, that a warp has at a time.
template <class T, int P>
constexpr int kScoreColumns = kTileRows<T, P> < 32 ? kTileRows<T, P> : 32;

// What a warp needs of the others' tiles: of rows outside [some_begin, some_end) nothing, of those in [all_begin, all_end) all, unmasked.
struct Sight {
  int some_begin, some_end, all_begin, all_end;

  __device__ __forceinline__ bool none(int begin, int end) const { return end <= some_begin || begin >= some_end; }
  __device__ __forceinline__ bool all(int begin, int end) const { return begin >= all_begin && end <= all_end; }
};

// Where a block works, and what its warps see. It waits in shared memory: through the loop over tiles, registers are for sums.
struct BlockPlace {
  AttentionSequence s;
  int kv_head, first, row_begin, row_end;  // first: row or key of those that the block owns; then the rows that pass
  Sight sights[kMostGradientWarps];

  template <class T>
  __device__ __forceinline__ HeadRows<T> queries(const AttentionGradients& a, const AttentionTensor& tensor) const {
    return tensor.of<T>(s.b, s.first_q, kv_head * a.p.group, a.p.group);
  }
  template <class T>
  __device__ __forceinline__ HeadRows<T> keys(const AttentionTensor& tensor) const {
    return tensor.of<T>(s.b, s.first_k, kv_head, 1);
  }
};

constexpr int kNowhere = 0x7fffffff;

// Masked keys, of the queries [begin, end).
__device__ __forceinline__ Sight keys_seen_by(const AttentionProblem& p, const AttentionSequence& s, int begin, int end) {
  const bool plain = !p.bias.data && !p.keep.data;
  return {begin + s.shift - p.left, end + s.shift + p.right, plain ? end - 1 + s.shift - p.left : kNowhere, begin + s.shift + p.right + 1};
}

// The first packed row of a query, where there is one.
__device__ __forceinline__ int row_of(const AttentionProblem& p, const AttentionSequence& s, int query) {
  return min(max(query, 0), s.queries) * p.group;
}
// Packed rows, of the keys [begin, end). All see an extra key.
__device__ __forceinline__ Sight rows_that_see(const AttentionProblem& p, const AttentionSequence& s, int begin, int end) {
  const int last = min(end, s.limit), all_rows = s.queries * p.group;
  const bool plain = !p.bias.data && !p.keep.data && end <= s.limit;
  Sight rows = {row_of(p, s, begin - s.shift - p.right), row_of(p, s, last - s.shift + p.left),
                plain ? row_of(p, s, end - 1 - s.shift - p.right) : kNowhere, row_of(p, s, begin - s.shift + p.left + 1)};
  if (begin >= s.limit) rows.some_begin = kNowhere;
  if (begin < s.keys && min(end, s.keys) > s.masked_keys) rows.some_begin = 0, rows.some_end = all_rows;
  return rows;
}

// A warp's blocks of 16 rows as A operands, of which as many columns as there are registers for are held: the other tile's operands are
// then all that shared memory gives.
template <class T, int P, int kBlocks, int kHeld>
struct HeldRows {
  static constexpr int kSteps = kHeld / kDepth<T>, kGroupSteps = kGroup / kDepth<T>;
  const T* tile;
  int row;
  Fragment<T, 4, Operands::plain> held[kSteps > 0 ? kSteps : 1][kBlocks];

  __device__ __forceinline__ HeldRows(const T* tile, int row) : tile(tile), row(row) {}

  // Columns beyond `dim` are not written in the tile.
  __device__ __forceinline__ void load(int dim) {
#pragma unroll
    for (int step = 0; step < kSteps; ++step)
#pragma unroll
      for (int m = 0; m < kBlocks; ++m) {
        if (step / kGroupSteps * kGroup < dim)
          load_step(held[step][m], step, m);
        else
          for (int i = 0; i < 4; ++i) held[step][m].set(i, 0);
      }
  }
  // multiply_rows of them.
  template <bool kSwapped, int kTiles>
  __device__ __forceinline__ void multiply(float (&d)[kBlocks][kTiles][4], const T* b, int dim, bool tf32_allowed) const {
    if constexpr (kHeld == 0) {
      multiply_rows<T, P, kSwapped>(d, tile, row, b, dim, tf32_allowed);
    } else {
      const int lane = threadIdx.x % kWarpSize;
      const detail::LaneAddress<T, P> at(lane / 16 * 8 + lane % 8, lane / 8 % 2);
#pragma unroll
      for (int step = 0; step < P / kDepth<T>; ++step) {
        if (step % kGroupSteps == 0 && step / kGroupSteps * kGroup >= dim) break;
        Fragment<T, 4, Operands::plain> loaded[kBlocks];
        if (step >= kSteps) {
#pragma unroll
          for (int m = 0; m < kBlocks; ++m) load_step(loaded[m], step, m);
        }
#pragma unroll
        for (int n = 0; n < kTiles; n += 2) {
          const auto columns = load_matrix<4>(at.of(b, 8 * n, 2 * step));
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            Fragment<T, 2, Operands::plain> fb;
            fb.set(0, columns.r[2 * half]);
            fb.set(1, columns.r[2 * half + 1]);
#pragma unroll
            for (int m = 0; m < kBlocks; ++m)
              attention_tile::multiply<kSwapped>(d[m][n + half], step < kSteps ? held[step < kSteps ? step : 0][m] : loaded[m], fb);
          }
        }
      }
    }
  }

 private:
  __device__ __forceinline__ void load_step(Fragment<T, 4, Operands::plain>& to, int step, int m) const {
    const int lane = threadIdx.x % kWarpSize;
    const detail::LaneAddress<T, P> at(row + lane % 16, lane / 16);
    const auto matrix = load_matrix<4>(at.of(tile, 16 * m, 2 * step));
#pragma unroll
    for (int i = 0; i < 4; ++i) to.set(i, matrix.r[i]);
  }
};

// --- for launchers

// How many owners of `owner_rows` rows, of one or two warps each, a block has beside `fixed` bytes of shared memory: four warps and 64 rows
// where a multiprocessor has room for two such blocks, which then wait for their barriers at different times; else eight warps. Fewer where
// there is less work or room.
inline int gradient_owners(const Gpu& gpu, int64_t rows, int owner_rows, int owner_warps, size_t fixed, size_t per_owner) {
  constexpr size_t kPlace = 1024, kReserved = 1024;  // the block's place, and what CUDA takes of a multiprocessor for each block
  const int most = kMostGradientWarps / owner_warps, few = max(most / 2, 64 / owner_rows);
  const bool two = 2 * (fixed + few * per_owner + kPlace + kReserved) <= gpu.shared_per_block + kReserved;
  return attention_warps(gpu, (rows * 16 + owner_rows - 1) / owner_rows, two ? few : most, fixed + kPlace, per_owner);
}

}  // namespace tilewise::TILEWISE_GPU::attention_tile
