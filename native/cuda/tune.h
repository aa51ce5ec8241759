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
};

// n: columns of the product. large_allowed: false where only small tiles exist.
inline GemmPlan plan_gemm(const Gpu& gpu, int64_t m, int64_t n, int64_t k_tiles, int64_t batch, bool large_allowed) {
  constexpr int64_t kLarge = GemmTiles::kLarge, kSmall = GemmTiles::kSmall;
  const int64_t processors = gpu.multiprocessors > 0 ? gpu.multiprocessors : 1;
  GemmPlan plan;
  // Time in units of a small tile's work, by whole waves. A large tile reads each element from shared memory half as often, which is what
  // bounds small ones: three quarters of the time for the same work.
  const int64_t large = batch * ceil_div(m, kLarge) * ceil_div(n, kLarge), small = batch * ceil_div(m, kSmall) * ceil_div(n, kSmall);
  plan.large = large_allowed && 3 * ceil_div(large, processors) <= ceil_div(small, processors);
  const int64_t size = plan.large ? kLarge : kSmall;
  plan.tiles_m = ceil_div(m, size);
  plan.tiles_n = ceil_div(n, size);
  const int64_t tiles = batch * plan.tiles_m * plan.tiles_n;

  // Few tiles and long sums: parts of the sums to other processors. A part is at least eight stages, which pays for the second pass; and
  // the partial sums, written and read as f32, must stay small beside the factors.
  const int64_t resident = 2 * processors;
  if (tiles < resident) {
    int64_t splits = resident / tiles;
    if (splits > k_tiles / 8) splits = k_tiles / 8;
    if (splits > 32) splits = 32;
    if (splits > 1) {
      plan.k_tiles_per_split = ceil_div(k_tiles, splits);
      plan.splits = static_cast<int>(ceil_div(k_tiles, plan.k_tiles_per_split));
    }
  }
  if (plan.splits == 1) plan.k_tiles_per_split = k_tiles;

  // The tiles that run together should be a square: it has the fewest rows and columns of tiles to read, so that they come from L2.
  plan.group = static_cast<int>(std::lround(std::sqrt(static_cast<double>(resident))));
  return plan;
}

}  // namespace tilewise
