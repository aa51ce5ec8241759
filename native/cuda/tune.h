// Which tiles a kernel gets for which shapes. Everything here follows from shapes and the device alone, so that results do too.
#pragma once
#include <cmath>

#include "gpu.h"

namespace tilewise {

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Sizes that native/cuda/prim/gemm.cuh is compiled for.
struct GemmTiles {
  static constexpr int kLarge = 128, kSmall = 64;  // rows and columns
  static constexpr int kDepthBytes = 64;           // of a stage, along k
};

struct GemmPlan {
  bool large = false;
  int64_t tiles_m = 0, tiles_n = 0;
  int group = 1;
  int splits = 1;
  int64_t k_tiles_per_split = 0;
  bool in_parts = false;  // sums go through memory to a second pass, even if there is one part
};

// The plan of the least estimated time, by whole waves of blocks. Its unit is what a multiprocessor takes for one stage of a small tile of
// 16-bit factors, 64 × 64 × 32: about 0.1 µs on a data-centre GPU at half its peak. n: columns of the product; large_allowed: false where
// only small tiles exist. unit: neighbouring columns, counted from the first, that a tile must hold together to finish them; else the sums
// take the second pass.
inline GemmPlan plan_gemm(const Gpu& gpu, int64_t m, int64_t n, int64_t k_tiles, int64_t batch, bool large_allowed, bool f32,
                          int64_t unit = 1) {
  // A large tile is four small ones, and reads each element from shared memory half as often, which is what bounds small ones.
  constexpr double kLargeTile = 3;
  // Three products at half the rate, on stages half as deep.
  const double stage = f32 ? 3 : 1;
  constexpr double kEnds = 4;             // filling the pipeline and the epilogue, in stages
  constexpr double kLaunch = 10;          // of the second pass, where sums are in parts
  constexpr double kPartialsByte = 3e-6;  // written and read once, at 3 TB/s
  constexpr double kLatency = 2;          // of memory, over the three stages that are under way: a block alone goes no faster
  constexpr int64_t kLeastStages = 8, kMostSplits = 32;
  const int64_t processors = gpu.multiprocessors > 0 ? gpu.multiprocessors : 1;
  GemmPlan best;
  double least = INFINITY;
  for (const bool large : {true, false}) {
    if (large && !large_allowed) continue;
    GemmPlan plan;
    plan.large = large;
    const int tile = large ? GemmTiles::kLarge : GemmTiles::kSmall;
    plan.tiles_m = ceil_div(m, tile);
    plan.tiles_n = ceil_div(n, tile);
    const int64_t tiles = batch * plan.tiles_m * plan.tiles_n;
    for (int64_t splits = 1; splits <= kMostSplits; ++splits) {
      plan.k_tiles_per_split = ceil_div(k_tiles, splits);
      if (splits > 1 && plan.k_tiles_per_split < kLeastStages) break;
      plan.splits = plan.k_tiles_per_split ? static_cast<int>(ceil_div(k_tiles, plan.k_tiles_per_split)) : 1;
      const auto waves = static_cast<double>(ceil_div(tiles * plan.splits, processors));
      const double turn = std::fmax(waves * (large ? kLargeTile : 1) * stage, kLatency);
      double time = turn * (static_cast<double>(plan.k_tiles_per_split) + kEnds);
      plan.in_parts = plan.splits > 1 || tile % unit != 0;
      if (plan.in_parts) time += kLaunch + kPartialsByte * 8 * static_cast<double>(batch * m * n * plan.splits);
      if (time < least) least = time, best = plan;
      if (tiles * splits >= 2 * processors) break;  // more parts only cost
    }
  }
  // The tiles that run together, two a multiprocessor, should be a square: it has the fewest rows and columns of tiles to read, so that
  // they come from L2.
  best.group = static_cast<int>(std::lround(std::sqrt(2.0 * static_cast<double>(processors))));
  return best;
}

// Sizes that native/cuda/prim/gemm_few_rows.cuh is compiled for.
struct FewRows {
  static constexpr int kRows = 16, kColumns = 8;  // of a matrix instruction
  static constexpr int kChunkBytes = 64;          // of k, that a warp takes at once
  static constexpr int kMostWarps = 16;           // a block
  static constexpr int kLoads = 8;                // of W that a lane has under way, 16 bytes each
};

// Whether blocks of sixteen columns, which read x half as often, are so many that the last ones to end do not matter.
inline bool few_rows_take_two_tiles(const Gpu& gpu, int64_t columns, int64_t batch) {
  return ceil_div(columns, 2 * FewRows::kColumns) * batch >= 8 * int64_t{gpu.multiprocessors};
}

// The warps of a block over `chunks` of k, of `tiles` times eight columns. Where a multiprocessor has few blocks, many warps: then all of W
// is under way at once, and sums are short chains. Where it has many, as few as have that in flight which a lane can have, so that some
// blocks load while others sum up.
inline int few_rows_warps(const Gpu& gpu, int64_t blocks, int64_t chunks, int tiles) {
  constexpr int64_t kShare = FewRows::kLoads / 2;  // loads of a lane that are worth a warp more
  constexpr int64_t kResident = 16;                // warps on a multiprocessor that registers allow on any device
  const auto most = [](int64_t a, int64_t b) { return a > b ? a : b; };
  const auto least = [](int64_t a, int64_t b) { return a < b ? a : b; };
  const int64_t loads = chunks * tiles;
  const int64_t room = kResident / ceil_div(most(blocks, 1), most(gpu.multiprocessors, 1));
  const int64_t warps = least(ceil_div(loads, kShare), most(room, least(kResident / 2, ceil_div(loads, FewRows::kLoads))));
  return static_cast<int>(most(1, least(warps, FewRows::kMostWarps)));
}

}  // namespace tilewise
