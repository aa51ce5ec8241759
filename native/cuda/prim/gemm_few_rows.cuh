// The matrix product of up to 16 rows, as decoding has them. W is read once and nothing else counts, so its fragments come from global
// memory as they are: no tiles in shared memory, no second pass. A block has eight columns, or two times eight; its warps cut k among
// themselves.
//
// Which numbers of k meet in a matrix instruction does not matter, as long as both factors agree. Lane (g, t) = (lane / 4, lane % 4) takes
// 16 bytes of W's row g and of x's rows g and g + 8 from one place of k: their words 2s and 2s + 1 are its registers of step s, where
// mma.cuh has numbers 8 or 4 apart. Four lanes read 64 bytes of a row, a chunk.
#pragma once
#include "../ptx/prefetch.cuh"
#include "gemm_batch.cuh"
#include "gemm_epilogue.cuh"
#include "gemm_fragments.cuh"
#include "gemm_heads.cuh"

namespace tilewise::TILEWISE_GPU {

constexpr int kFewRowsTile = FewRows::kColumns;
constexpr int kFewRowsPartial = 2 * FewRows::kRows * kFewRowsTile;  // sums of one warp in shared memory

// A lane's part of a line of a factor: its 16 bytes of chunk 0, and the number of 16 bytes of the line that are the warp's or before, 0
// for a line that does not exist.
struct FewRowsLine {
  const unsigned char* data;
  int end;

  __device__ __forceinline__ Vec<uint32_t, 4> piece(int at, SITE) const {
    Vec<uint32_t, 4> words{};
    if (at < end) words = load_constant<4>(reinterpret_cast<const uint32_t*>(data) + 4 * at, site);
    return words;
  }
};

// Word of an element of a warp's sums: lanes write the two neighbours that they hold, and read four of a row, without bank conflicts.
__device__ __forceinline__ int few_rows_place(int tile, int row, int column) {
  return row * 2 * kFewRowsTile + (tile ^ (row >> 1 & 1)) * kFewRowsTile + column;
}

// A warp's share of the sums, over chunks [first, end), left in `partial`. Halves: of the 16 rows, 1 where there are up to eight.
template <class T, int Tiles, int Halves>
__device__ __forceinline__ void few_rows_sums(const FewRowsLine (&w)[2], const FewRowsLine (&x)[2], int first, int end, bool tf32_allowed,
                                              float* partial) {
  // Chunks under way, as registers allow.
  constexpr int kAhead = FewRows::kLoads / (Tiles * Halves == 1 ? 1 : sizeof(T) == 4 ? Tiles * Halves : 2);
  const int lane = threadIdx.x % kWarpSize;
  // Two sums of an element: a matrix instruction waits for the one before it on the same sum, so chunks alternate where there is one tile.
  // f32: the second one is for the small parts of the products.
  constexpr int kChains = sizeof(T) == 2 && Tiles == 1 ? 2 : 1;
  float acc[2][1][Tiles][4] = {};
#pragma unroll 1
  for (; first < end; first += kAhead) {
    Vec<uint32_t, 4> words_w[kAhead][Tiles], words_x[kAhead][Halves];
    const int at = 4 * first + lane % 4;
#pragma unroll
    for (int c = 0; c < kAhead; ++c)
#pragma unroll
      for (int j = 0; j < Tiles; ++j) words_w[c][j] = w[j].piece(at + 4 * c);
#pragma unroll
    for (int c = 0; c < kAhead; ++c)
#pragma unroll
      for (int h = 0; h < Halves; ++h) words_x[c][h] = x[h].piece(at + 4 * c);
#pragma unroll
    for (int c = 0; c < kAhead; ++c) {
      if (first + c >= end) break;
#pragma unroll
      for (int s = 0; s < 2; ++s) {
        uint32_t a[1][4] = {}, b[Tiles][2];
#pragma unroll
        for (int h = 0; h < Halves; ++h) a[0][h] = words_x[c][h][2 * s], a[0][2 + h] = words_x[c][h][2 * s + 1];
#pragma unroll
        for (int j = 0; j < Tiles; ++j) b[j][0] = words_w[c][j][2 * s], b[j][1] = words_w[c][j][2 * s + 1];
        multiply<T>(acc[c % kChains], acc[1], a, b, tf32_allowed);
      }
    }
  }
#pragma unroll
  for (int h = 0; h < Halves; ++h)
#pragma unroll
    for (int j = 0; j < Tiles; ++j) {
      const Vec<float, 2> sums{{acc[0][0][j][2 * h] + acc[1][0][j][2 * h], acc[0][0][j][2 * h + 1] + acc[1][0][j][2 * h + 1]}};
      store_shared(partial + few_rows_place(j, 8 * h + lane / 4, lane % 4 * 2), sums);
    }
}

// Where a block's columns begin; the second eight of them may not exist.
struct FewRowsPlace {
  int64_t batch = 0;
  int first, second;

  __device__ __forceinline__ explicit FewRowsPlace(const GemmArguments& g) {
    const GemmFewRows& f = g.few_rows;
    auto block = static_cast<int>(blockIdx.x);
    if (g.batch.count > 1) batch = block / f.blocks, block = block % f.blocks;
    first = block * kFewRowsTile, second = g.epilogue.columns;
    if (f.second == FewRowsSecond::gate_up) {
      second = first + g.epilogue.columns;
    } else if (f.second == FewRowsSecond::partner && block < f.head_blocks * f.heads) {
      const Rotary& r = g.epilogue.heads.rotary;
      const int head = block / f.head_blocks * r.head, in_head = block % f.head_blocks, turning = r.pairs / kFewRowsTile;
      first = head + in_head * kFewRowsTile;
      if (in_head < turning) {
        second = first + r.pairs;
      } else {  // what does not turn lies side by side, two times eight from 2 pairs on
        first += in_head * kFewRowsTile;
        if (first + kFewRowsTile < head + r.head) second = first + kFewRowsTile;
      }
    } else if (f.second != FewRowsSecond::none) {
      first = f.heads * g.epilogue.heads.rotary.head + 2 * kFewRowsTile * (block - f.head_blocks * f.heads);
      second = first + kFewRowsTile;
    }
  }
};

template <class T, int features>
__global__ void __launch_bounds__(FewRows::kMostWarps* kWarpSize) gemm_few_rows(const __grid_constant__ GemmArguments g) {
  using Finish = std::conditional_t<features == kHeads, HeadsFinish<T>, GemmFinish<T, features>>;
  float* const partials = dynamic_smem<float>();
  const GemmEpilogue& e = g.epilogue;
  const GemmFewRows& f = g.few_rows;
  const int warp = threadIdx.x / kWarpSize, lane = threadIdx.x % kWarpSize;
  const FewRowsPlace place(g);
  const bool gated = f.second == FewRowsSecond::gate_up;

  const BatchOffsets offsets(g.batch, place.batch);
  const int pieces = g.k / (16 / static_cast<int>(sizeof(T)));
  const int first = warp * f.chunks, end = min(first + f.chunks, (pieces + 3) / 4), share = min(pieces, 4 * end);
  FewRowsLine w[2], x[2];
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int column = (i ? place.second : place.first) + lane / 4, row = 8 * i + lane / 4;
    const bool exists = (i && gated ? column - e.columns : column) < e.columns;
    w[i] = {reinterpret_cast<const unsigned char*>(static_cast<const T*>(g.b.data) + offsets.b + column * g.b.line_stride),
            exists ? share : 0};
    x[i] = {reinterpret_cast<const unsigned char*>(static_cast<const T*>(g.a.data) + offsets.a + row * g.a.line_stride),
            row < g.m ? share : 0};
  }

  // What the epilogue will read, so that it comes while the factors do.
  const int ahead = threadIdx.x;
  if (ahead < 2 && e.bias) {
    const int64_t column = ahead && place.second < (gated ? 2 : 1) * e.columns ? place.second : place.first;
    prefetch_l2(static_cast<const unsigned char*>(e.bias) + column * static_cast<int64_t>(e.bias_f32 ? sizeof(float) : sizeof(T)));
  }
  if constexpr (bool(features & kForward)) {
    if (e.residual.data && ahead < g.m) prefetch_l2(static_cast<const T*>(e.residual.data) + ahead * e.residual.ld + place.first);
  }

  float* const partial = partials + warp * kFewRowsPartial;
  if (f.second == FewRowsSecond::none) {
    if (g.m <= 8)
      few_rows_sums<T, 1, 1>(w, x, first, end, g.tf32, partial);
    else
      few_rows_sums<T, 1, 2>(w, x, first, end, g.tf32, partial);
  } else {
    if (g.m <= 8)
      few_rows_sums<T, 2, 1>(w, x, first, end, g.tf32, partial);
    else
      few_rows_sums<T, 2, 2>(w, x, first, end, g.tf32, partial);
  }
  __syncthreads();

  // A thread a group of columns: the warps' sums in order, then the epilogue.
  const int groups = f.second == FewRowsSecond::none || gated ? kFewRowsTile / kGroup : 2 * kFewRowsTile / kGroup;
#pragma unroll 1
  for (int i = threadIdx.x; i < g.m * groups; i += blockDim.x) {
    const int row = i / groups, tile = i % groups / 2, within = i % 2 * kGroup;
    const int column = (tile ? place.second : place.first) + within;
    if (column >= e.columns) continue;
    const Finish finish(e, place.batch, column);
    const auto beside = finish.read(row);
    float v[kGroup] = {}, other[kGroup] = {};
    const int own_place = few_rows_place(tile, row, within), other_place = few_rows_place(1 - tile, row, within);
    const int warps = blockDim.x / kWarpSize;
#pragma unroll 4
    for (int j = 0; j < warps; ++j) {
      const auto part = load_shared<kGroup>(partials + j * kFewRowsPartial + own_place);
#pragma unroll
      for (int c = 0; c < kGroup; ++c) v[c] += part[c];
      if (gated || f.second == FewRowsSecond::partner) {
        const auto part = load_shared<kGroup>(partials + j * kFewRowsPartial + other_place);
#pragma unroll
        for (int c = 0; c < kGroup; ++c) other[c] += part[c];
      }
    }
    finish.finish(row, v, other, beside);
  }
}

template <class T>
Status launch_few_rows(const Gpu& gpu, const GemmArguments& g) {
  const bool heads = static_cast<bool>(g.epilogue.heads);
  const auto warps = static_cast<unsigned>(g.few_rows.warps);
  const int64_t blocks = g.few_rows.blocks * g.batch.count;
  if (blocks > 0x7fffffff) return unsupported("a matrix product of " + std::to_string(blocks) + " blocks of columns");
  return launch(gpu,
                LaunchShape{heads ? "gemm_few_rows_heads" : "gemm_few_rows", dim3(static_cast<unsigned>(blocks)), dim3(warps * kWarpSize),
                            warps * kFewRowsPartial * sizeof(float)},
                heads ? gemm_few_rows<T, kHeads> : gemm_few_rows<T, kForward>, g);
}

}  // namespace tilewise::TILEWISE_GPU
