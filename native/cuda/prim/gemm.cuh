// The matrix product on tensor cores: blocks of warps over tiles of C, k in stages of 64 bytes that cp.async fills ahead, fragments
// double-buffered in registers, the finished tile staged in shared memory so that the epilogue reads and writes whole rows.
#pragma once
#include "gemm_batch.cuh"
#include "gemm_epilogue.cuh"
#include "gemm_few_rows.cuh"
#include "gemm_heads.cuh"
#include "gemm_load.cuh"

namespace tilewise::TILEWISE_GPU {

template <class T_, int M, int N, int WarpM, int WarpN, int MinBlocks>
struct GemmShape {
  using T = T_;
  static constexpr int kM = M, kN = N, kWarpM = WarpM, kWarpN = WarpN;
  static constexpr int kWarpsN = N / WarpN;
  static constexpr int kThreads = M / WarpM * kWarpsN * kWarpSize;
  static constexpr int kMinBlocks = MinBlocks;  // a multiprocessor, which bounds the registers
  static constexpr int kStages = 4;
  static constexpr int kStageBytes = (M + N) * GemmTiles::kDepthBytes;
  static constexpr int kDepth = GemmTiles::kDepthBytes / sizeof(T);
  static constexpr int kSharedBytes = kStages * kStageBytes;
  static_assert(M * N * 4 <= kSharedBytes);  // the staged tile
  template <int Blocks>
  using WithBlocks = GemmShape<T, M, N, WarpM, WarpN, Blocks>;
};

template <class Shape, Major a_major, Major b_major>
struct GemmLoaders {
  using A = AsyncLoader<typename Shape::T, a_major, Shape::kM, Shape::kThreads>;
  using B = AsyncLoader<typename Shape::T, b_major, Shape::kN, Shape::kThreads>;
  static constexpr Major kA = a_major, kB = b_major;  // in shared memory
};
template <class Shape>
struct GemmLoaders<Shape, Major::neither, Major::neither> {
  using A = ElementLoader<typename Shape::T, Shape::kM, Shape::kThreads>;
  using B = ElementLoader<typename Shape::T, Shape::kN, Shape::kThreads>;
  static constexpr Major kA = Major::k, kB = Major::k;
};

// The block's tile of the grid: parts of one tile's sum are far apart, tiles of one group of rows close together.
struct GemmPlace {
  int m, n;  // tile
  int split;
  int64_t batch;

  __device__ __forceinline__ explicit GemmPlace(const GemmArguments& g) {
    const int tiles = g.tiles_m * g.tiles_n;  // gemm() checks that it is one
    const int outer = static_cast<int>(blockIdx.x) / tiles, tile = static_cast<int>(blockIdx.x) % tiles;
    split = outer % g.splits;
    batch = outer / g.splits;
    const int in_group = g.group * g.tiles_n;
    const int first = tile / in_group * g.group;
    const int rows = min(g.tiles_m - first, g.group);
    m = first + tile % in_group % rows;
    n = tile % in_group / rows;
  }
};

// Word of an element in the staged tile: the lanes that hold a fragment write to different banks, and rows are still read in 16 bytes.
template <int N>
__device__ __forceinline__ int staged(int row, int column) {
  return row * N + (column ^ 8 * (row & 3));
}

template <class Shape, Major a_major, Major b_major, int features>
__global__ void __launch_bounds__(Shape::kThreads, Shape::kMinBlocks) gemm_kernel(const __grid_constant__ GemmArguments g) {
  using T = typename Shape::T;
  using Loaders = GemmLoaders<Shape, a_major, b_major>;
  constexpr int kStages = Shape::kStages, kBlocksM = Shape::kWarpM / 16, kBlocksN = Shape::kWarpN / 8, kSteps = 2;
  unsigned char* const shared = dynamic_smem<unsigned char>();
  const int warp = threadIdx.x / kWarpSize, lane = threadIdx.x % kWarpSize;
  const int warp_m = warp / Shape::kWarpsN * Shape::kWarpM, warp_n = warp % Shape::kWarpsN * Shape::kWarpN;
  const GemmPlace place(g);
  const GemmEpilogue& e = g.epilogue;
  // Only a forward product is gated in its factor; the derivative's gate is in what lies beside it.
  const bool halved = (features & kForward) && e.gated && !e.at.data;
  const int first_m = place.m * Shape::kM, first_n = place.n * (halved ? Shape::kN / 2 : Shape::kN);
  const int columns = halved ? e.columns : g.n;

  const BatchOffsets offsets(g.batch, place.batch);
  const int k_tiles = (g.k + Shape::kDepth - 1) / Shape::kDepth;
  const int first_tile = place.split * g.k_tiles_per_split;
  const int tiles = min(k_tiles - first_tile, g.k_tiles_per_split);
  typename Loaders::A load_a({static_cast<const T*>(g.a.data) + offsets.a, g.a.line_stride, g.a.k_stride, first_m, g.m, false, 0, g.k},
                             g.segments, g.segment_count, first_tile);
  typename Loaders::B load_b({static_cast<const T*>(g.b.data) + offsets.b, g.b.line_stride, g.b.k_stride, first_n, columns, halved,
                              halved ? e.columns - Shape::kN / 2 : 0, g.k},
                             nullptr, 0, first_tile);
  const FragmentsA<T, Loaders::kA, Shape::kM, kBlocksM> fragments_a(warp_m, lane);
  const FragmentsB<T, Loaders::kB, Shape::kN, kBlocksN> fragments_b(warp_n, lane);
  constexpr int kOffsetB = Shape::kM * GemmTiles::kDepthBytes;

  float acc[kBlocksM][kBlocksN][4] = {};
  uint32_t a[2][kBlocksM][4], b[2][kBlocksN][2];
  // Stages 0 to kStages - 2 are begun; each turn of the loop begins one more, in the place of the one that all have read.
#pragma unroll 1
  for (int s = 0; s < kStages - 1; ++s) {
    if (s < tiles) {
      load_a.start(shared + s * Shape::kStageBytes);
      load_b.start(shared + s * Shape::kStageBytes + kOffsetB);
      load_a.finish();
      load_b.finish();
    }
    copy_async_commit();
  }
  copy_async_wait<kStages - 2>();
  __syncthreads();
  const unsigned char* stage = shared;
  int read = 0;
  if (tiles > 0) {
    fragments_a.load(stage, 0, a[0]);
    fragments_b.load(stage + kOffsetB, 0, b[0]);
  }
#pragma unroll 1
  for (int tile = 0; tile < tiles; ++tile) {
    const bool begins = tile + kStages - 1 < tiles;
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      if (step + 1 == kSteps) {
        if (begins) load_a.finish(), load_b.finish();
        copy_async_wait<kStages - 2>();
        __syncthreads();
        read = read + 1 < kStages ? read + 1 : 0;
        stage = shared + read * Shape::kStageBytes;
      }
      if (step + 1 < kSteps || tile + 1 < tiles) {
        fragments_a.load(stage, (step + 1) % kSteps, a[(step + 1) % 2]);
        fragments_b.load(stage + kOffsetB, (step + 1) % kSteps, b[(step + 1) % 2]);
      }
      if (step == 0) {
        if (begins) {
          unsigned char* const next = shared + (read ? read - 1 : kStages - 1) * Shape::kStageBytes;
          load_a.start(next);
          load_b.start(next + kOffsetB);
        }
        copy_async_commit();
      }
      multiply<T>(acc, acc, a[step % 2], b[step % 2], g.tf32);
    }
  }

  // Nobody reads the stages any more: the last turn took its fragments before its barrier, and began no copy.
  float* const tile = reinterpret_cast<float*>(shared);
#pragma unroll
  for (int i = 0; i < kBlocksM; ++i)
#pragma unroll
    for (int j = 0; j < kBlocksN; ++j)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = warp_m + i * 16 + half * 8 + lane / 4, column = warp_n + j * 8 + lane % 4 * 2;
        store_shared(tile + staged<Shape::kN>(row, column), Vec<float, 2>{{acc[i][j][2 * half], acc[i][j][2 * half + 1]}});
      }
  __syncthreads();

  // A thread keeps its columns and goes down the rows, kAhead of them at a time: what lies beside them is asked for at once.
  constexpr int kAhead = 4;
  const int groups = (halved ? Shape::kN / 2 : Shape::kN) / kGroup;
  const int column = threadIdx.x % groups * kGroup, step = Shape::kThreads / groups;
  if (first_n + column >= (halved || e.at.data ? e.columns : g.n)) return;
  using Finish = std::conditional_t<features == kHeads, HeadsFinish<T>, GemmFinish<T, features>>;
  const Finish finish(e, place.batch, first_n + column);
#pragma unroll 1
  for (int first = threadIdx.x / groups; first < Shape::kM; first += kAhead * step) {
    typename Finish::Read ahead[kAhead];
    if (!g.partials) {
#pragma unroll
      for (int i = 0; i < kAhead; ++i)
        if (first_m + first + i * step < g.m) ahead[i] = finish.read(first_m + first + i * step);
    }
#pragma unroll 1
    for (int i = 0; i < kAhead; ++i) {
      const int row = first + i * step;
      if (first_m + row >= g.m) return;
      Vec<float, kGroup> v = load_shared<kGroup>(tile + staged<Shape::kN>(row, column)), up{};
      if (halved) up = load_shared<kGroup>(tile + staged<Shape::kN>(row, column + Shape::kN / 2));
      if (g.partials) {
        const int n = (halved ? e.columns : g.n) - first_n - column;
        float* to = g.partials + ((place.batch * g.splits + place.split) * g.m + first_m + row) * g.n + first_n + column;
        store_group(to, v.data, n, g.n % kGroup == 0 && e.columns % kGroup == 0);
        if (halved) store_group(to + e.columns, up.data, n, g.n % kGroup == 0 && e.columns % kGroup == 0);
        continue;
      }
      typename Finish::Read beside = ahead[0];  // ahead[i], without an index: registers have none
#pragma unroll
      for (int j = 1; j < kAhead; ++j)
#pragma unroll
        for (int w = 0; w < Finish::kReadWords; ++w) beside.word[w] = i == j ? ahead[j].word[w] : beside.word[w];
      if constexpr (features == kHeads) {
        if (finish.turns == Turns::by_groups) {
          up = load_shared<kGroup>(tile + staged<Shape::kN>(row, finish.partner[0] - first_n));
        } else if (finish.turns == Turns::apart) {
#pragma unroll
          for (int j = 0; j < kGroup; ++j)
            if (finish.partner[j] >= 0) up[j] = load_shared(tile + staged<Shape::kN>(row, finish.partner[j] - first_n))[0];
        }
      }
      finish.finish(first_m + row, v.data, up.data, beside);
    }
  }
}

constexpr int kSumThreads = 256;

// The second pass of a product in parts: their sum in order, then the epilogue. A thread a group of columns.
template <class T, int features>
__global__ void __launch_bounds__(kSumThreads) gemm_sum_parts(const __grid_constant__ GemmArguments g) {
  const GemmEpilogue& e = g.epilogue;
  const uint32_t groups = static_cast<uint32_t>(e.columns + kGroup - 1) / kGroup;
  const uint32_t index = blockIdx.x * kSumThreads + threadIdx.x;  // launch_gemm() checks that it is one: 64-bit division is a call
  const uint32_t line = index / groups;
  const int64_t row = line % static_cast<uint32_t>(g.m), batch = line / static_cast<uint32_t>(g.m);
  if (batch >= g.batch.count) return;
  const int column = static_cast<int>(index % groups) * kGroup, n = e.columns - column;
  const bool vectors = g.n % kGroup == 0 && e.columns % kGroup == 0, halved = e.gated && !e.at.data;
  using Finish = std::conditional_t<features == kHeads, HeadsFinish<T>, GemmFinish<T, features>>;
  const Finish finish(e, batch, column);
  const auto beside = finish.read(row);
  float v[kGroup] = {}, up[kGroup] = {};
#pragma unroll 4
  for (int split = 0; split < g.splits; ++split) {
    const float* const sums = g.partials + ((batch * g.splits + split) * g.m + row) * g.n;
    const auto part = load_group(sums + column, n, vectors);
#pragma unroll
    for (int i = 0; i < kGroup; ++i) v[i] += part[i];
    if constexpr (features == kHeads) {
      if (finish.turns == Turns::by_groups) {
        const auto other = load_group(sums + finish.partner[0], kGroup, vectors);
#pragma unroll
        for (int i = 0; i < kGroup; ++i) up[i] += other[i];
      } else if (finish.turns == Turns::apart) {
#pragma unroll
        for (int i = 0; i < kGroup; ++i)
          if (finish.partner[i] >= 0) up[i] += load_float(sums + finish.partner[i]);
      }
    } else if (halved) {
      const auto other = load_group(sums + column + e.columns, n, vectors);
#pragma unroll
      for (int i = 0; i < kGroup; ++i) up[i] += other[i];
    }
  }
  finish.finish(row, v, up, beside);
}

template <class Shape, Major a, Major b, int features>
Status launch_gemm_kernel(const Gpu& gpu, const char* name, const GemmArguments& g) {
  const int64_t blocks = int64_t{g.tiles_m} * g.tiles_n * g.splits * g.batch.count;
  if (blocks > 0x7fffffff) return unsupported("a matrix product of " + std::to_string(blocks) + " tiles");
  return launch(gpu, LaunchShape{name, dim3(static_cast<unsigned>(blocks)), dim3(Shape::kThreads), Shape::kSharedBytes},
                gemm_kernel<Shape, a, b, features>, g);
}

// Every kernel of one dtype. Each layout knows what its products are for: x W^T is forward, or that of heads, dy W goes back through an
// activation, dy^T x accumulates.
template <class T, class Large, class Small>
Status launch_gemm(const Gpu& gpu, const GemmVariant& variant, const GemmArguments& g) {
  if (variant.few_rows) return launch_few_rows<T>(gpu, g);
  const bool heads = static_cast<bool>(g.epilogue.heads);
  const auto run = [&]() -> Status {
    if (heads)
      return variant.a == Major::neither
                 ? launch_gemm_kernel<typename Small::template WithBlocks<2>, Major::neither, Major::neither, kHeads>(
                       gpu, "gemm_elements_heads", g)
             : variant.large ? launch_gemm_kernel<Large, Major::k, Major::k, kHeads>(gpu, "gemm_large_heads", g)
                             : launch_gemm_kernel<Small, Major::k, Major::k, kHeads>(gpu, "gemm_small_heads", g);
    if (variant.a == Major::neither)  // values that wait in registers leave room for fewer blocks
      return launch_gemm_kernel<typename Small::template WithBlocks<2>, Major::neither, Major::neither,
                                kForward | kDerivative | kAccumulate>(gpu, "gemm_elements", g);
    if (variant.a == Major::k && variant.b == Major::k)
      return variant.large ? launch_gemm_kernel<Large, Major::k, Major::k, kForward>(gpu, "gemm_large_kk", g)
                           : launch_gemm_kernel<Small, Major::k, Major::k, kForward>(gpu, "gemm_small_kk", g);
    if (variant.a == Major::k)
      return variant.large ? launch_gemm_kernel<Large, Major::k, Major::line, kDerivative>(gpu, "gemm_large_kn", g)
                           : launch_gemm_kernel<Small, Major::k, Major::line, kDerivative>(gpu, "gemm_small_kn", g);
    if (variant.b == Major::line)
      return variant.large ? launch_gemm_kernel<Large, Major::line, Major::line, kAccumulate>(gpu, "gemm_large_mn", g)
                           : launch_gemm_kernel<Small, Major::line, Major::line, kAccumulate>(gpu, "gemm_small_mn", g);
    return variant.large ? launch_gemm_kernel<Large, Major::line, Major::k, 0>(gpu, "gemm_large_mk", g)
                         : launch_gemm_kernel<Small, Major::line, Major::k, 0>(gpu, "gemm_small_mk", g);
  };
  TILEWISE_RETURN_IF_ERROR(run());
  if (!g.partials) return Status::ok();
  const int64_t groups = g.batch.count * g.m * ((g.epilogue.columns + kGroup - 1) / kGroup);
  if (groups > 0xffffffffu - kSumThreads) return unsupported("the sum in parts of " + std::to_string(groups) + " groups of columns");
  const auto blocks = static_cast<unsigned>((groups + kSumThreads - 1) / kSumThreads);
  return launch(gpu, LaunchShape{heads ? "gemm_sum_heads" : "gemm_sum_parts", dim3(blocks), dim3(kSumThreads)},
                heads ? gemm_sum_parts<T, kHeads> : gemm_sum_parts<T, kForward | kDerivative | kAccumulate>, g);
}

}  // namespace tilewise::TILEWISE_GPU
