// Numbers 0 … count - 1 sorted by the row that each belongs to, equal rows in order of the numbers: a stable radix sort, eight bits at a
// time, whose work depends on how many numbers there are and not on how many rows. No host reads, and no order of threads shows.
#pragma once
#include "reduce.cuh"
#include "row_index.cuh"

namespace tilewise::TILEWISE_GPU {
namespace {

constexpr int kSortThreads = 256, kSortRounds = 8, kSortTile = kSortThreads * kSortRounds;
constexpr int kDigits = 256, kSortWarps = kSortThreads / kWarpSize, kScanThreads = 512;

struct SortedRows {
  const int32_t *rows, *numbers;  // [count]; numbers that belong to no row come last, with a row that does not exist
};

// One pass: by the digit of the rows at `shift`. The first one takes them from the index.
struct SortPass {
  RowIndex index;
  const int32_t *rows, *numbers;  // null in the first pass
  int32_t *rows_out, *numbers_out;
  uint32_t* counts;  // [kDigits, tiles]
  int64_t count;
  int32_t no_row, ignored;
  int shift, tiles;

  __device__ __forceinline__ int32_t row(int64_t at) const {
    if (rows) return load_constant(rows + at)[0];
    const int32_t found = index(at);
    return found < 0 || found == ignored ? no_row : found;
  }
  __device__ __forceinline__ int digit(int32_t row) const { return row >> shift & (kDigits - 1); }
};

__global__ void __launch_bounds__(kSortThreads) sort_count(const __grid_constant__ SortPass a) {
  SHARED_ARRAY(uint32_t, counts, kDigits);
  counts[threadIdx.x] = 0;
  __syncthreads();
  for (int i = 0; i < kSortRounds; ++i) {
    const int64_t at = int64_t{blockIdx.x} * kSortTile + i * kSortThreads + threadIdx.x;
    if (at < a.count) atomicAdd(counts + a.digit(a.row(at)), 1u);
  }
  __syncthreads();
  store(a.counts + int64_t{threadIdx.x} * a.tiles + blockIdx.x, Vec<uint32_t, 1>{{counts[threadIdx.x]}});
}

// counts[i] = counts[0] + … + counts[i - 1], by one block.
__global__ void __launch_bounds__(kScanThreads) sort_scan(uint32_t* counts, int64_t count) {
  SHARED_ARRAY(uint32_t, sums, kScanThreads);
  const int64_t each = (count + kScanThreads - 1) / kScanThreads;
  const int64_t begin = each * threadIdx.x, end = begin + each < count ? begin + each : count;
  uint32_t own = 0;
  for (int64_t i = begin; i < end; ++i) own += load(counts + i)[0];
  sums[threadIdx.x] = own;
  __syncthreads();
  for (unsigned distance = 1; distance < kScanThreads; distance *= 2) {
    const uint32_t other = threadIdx.x >= distance ? sums[threadIdx.x - distance] : 0;
    __syncthreads();
    sums[threadIdx.x] += other;
    __syncthreads();
  }
  uint32_t before = sums[threadIdx.x] - own;
  for (int64_t i = begin; i < end; ++i) {
    const uint32_t here = load(counts + i)[0];
    store(counts + i, Vec<uint32_t, 1>{{before}});
    before += here;
  }
}

// A warp goes through its part of the tile in order; lanes of one digit find their ranks by votes.
__global__ void __launch_bounds__(kSortThreads) sort_place(const __grid_constant__ SortPass a) {
  SHARED_ARRAY(uint32_t, next, kSortWarps * kDigits);
  const int warp = threadIdx.x / kWarpSize, lane = threadIdx.x % kWarpSize;
  const int64_t first = int64_t{blockIdx.x} * kSortTile + warp * (kSortRounds * kWarpSize) + lane;
  for (int i = threadIdx.x; i < kSortWarps * kDigits; i += kSortThreads) next[i] = 0;
  __syncthreads();
  uint32_t* const own = next + warp * kDigits;
  int32_t row[kSortRounds];
#pragma unroll
  for (int i = 0; i < kSortRounds; ++i) {
    const int64_t at = first + i * kWarpSize;
    row[i] = at < a.count ? a.row(at) : 0;
    if (at < a.count) atomicAdd(own + a.digit(row[i]), 1u);
  }
  __syncthreads();
  uint32_t before = load_constant(a.counts + int64_t{threadIdx.x} * a.tiles + blockIdx.x)[0];
  for (int w = 0; w < kSortWarps; ++w) {
    const uint32_t here = next[w * kDigits + threadIdx.x];
    next[w * kDigits + threadIdx.x] = before;
    before += here;
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kSortRounds; ++i) {
    const int64_t at = first + i * kWarpSize;
    const bool valid = at < a.count;
    const int digit = a.digit(row[i]);
    uint32_t peers = __ballot_sync(kFullMask, valid);
    for (int bit = 0; bit < 8; ++bit) {
      const bool set = digit >> bit & 1;
      const uint32_t votes = __ballot_sync(kFullMask, set);
      peers &= set ? votes : ~votes;
    }
    const uint32_t below = peers & ((1u << lane) - 1);
    const uint32_t to = own[digit] + static_cast<uint32_t>(__popc(below));
    __syncwarp();
    if (valid) {
      if (below == 0) own[digit] += static_cast<uint32_t>(__popc(peers));
      store(a.rows_out + to, Vec<int32_t, 1>{{row[i]}});
      store(a.numbers_out + to, Vec<int32_t, 1>{{a.numbers ? load_constant(a.numbers + at)[0] : static_cast<int32_t>(at)}});
    }
    __syncwarp();
  }
}

// Numbers whose row is `ignored` belong to none. count and the index's rows are below 2^31.
inline Status sort_by_row(Context& context, const RowIndex& index, int64_t count, int32_t ignored, SortedRows* sorted) {
  const Gpu& gpu = gpu_of(context);
  const int64_t tiles = (count + kSortTile - 1) / kSortTile;
  const size_t list = static_cast<size_t>(count) * sizeof(int32_t);
  void *lists[4], *counts;
  for (void*& memory : lists) TILEWISE_RETURN_IF_ERROR(context.scratch(list, &memory));
  TILEWISE_RETURN_IF_ERROR(context.scratch(static_cast<size_t>(tiles) * kDigits * sizeof(uint32_t), &counts));
  SortPass pass{};
  pass.index = index;
  pass.counts = static_cast<uint32_t*>(counts);
  pass.count = count;
  pass.no_row = static_cast<int32_t>(index.rows);
  pass.ignored = ignored;
  pass.tiles = static_cast<int>(tiles);
  const dim3 grid(static_cast<unsigned>(tiles)), block(kSortThreads);
  for (int side = 0; pass.shift == 0 || pass.no_row >> pass.shift > 0; side = 1 - side) {
    pass.rows_out = static_cast<int32_t*>(lists[2 * side]);
    pass.numbers_out = static_cast<int32_t*>(lists[2 * side + 1]);
    TILEWISE_RETURN_IF_ERROR(launch(gpu, LaunchShape{"sort_count", grid, block}, sort_count, pass));
    TILEWISE_RETURN_IF_ERROR(
        launch(gpu, LaunchShape{"sort_scan", dim3(1), dim3(kScanThreads)}, sort_scan, pass.counts, tiles * int64_t{kDigits}));
    TILEWISE_RETURN_IF_ERROR(launch(gpu, LaunchShape{"sort_place", grid, block}, sort_place, pass));
    pass.rows = pass.rows_out;
    pass.numbers = pass.numbers_out;
    pass.shift += 8;
    if (pass.shift >= 32) break;
  }
  *sorted = {pass.rows, pass.numbers};
  return Status::ok();
}

}  // namespace
}  // namespace tilewise::TILEWISE_GPU
