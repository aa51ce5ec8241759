// y[row] += scale * dropout(x[n]) for all n that belong to the row, in their order: as a loop over n adds, and without atomics. A few lanes
// take a slice of the columns of one row; the x of several n are under way at a time.
#pragma once
#include "dropout.cuh"
#include "rows.cuh"
#include "sort_rows.cuh"

namespace tilewise::TILEWISE_GPU {
namespace {

constexpr int kAddRowsDeep = 8;
// Columns of a lane: 16 bytes of sums. With eight, as 16-bit x would allow, a warp's pieces of sums would be every other 16 bytes, and each
// sector of y would be asked for, and written, twice.
constexpr int kAddRowsColumns = 4;

template <class T>
struct AddRows {
  const T* x;         // [count, columns]
  float* y;           // [rows, columns]
  SortedRows sorted;  // null: n belongs to row n % period
  int64_t count, period;
  int32_t rows;
  int columns, width;
  float scale;
  Dropout dropout;
};

template <class T, int N>
__global__ void __launch_bounds__(kLaneRowThreads) add_rows(const __grid_constant__ AddRows<T> a) {
  const RowTeam<false> team(a.width);
  const int64_t first = int64_t{blockIdx.x} * team.slots() + team.slot;
  const int piece = static_cast<int>(blockIdx.y) * team.width + team.member;
  const bool sorted = a.sorted.rows != nullptr;
  if (first >= (sorted ? a.count : a.period) || piece >= a.columns / N) return;
  const int32_t row = sorted ? load_constant(a.sorted.rows + first)[0] : static_cast<int32_t>(first);
  if (row >= a.rows || (sorted && first > 0 && load_constant(a.sorted.rows + first - 1)[0] == row)) return;
  float* const to = a.y + int64_t{row} * a.columns + piece * N;
  Vec<float, N> sum = load<N>(to);
  for (int64_t at = first;; at += sorted ? kAddRowsDeep : kAddRowsDeep * a.period) {
    int32_t numbers[kAddRowsDeep];
    int some = 0;
#pragma unroll
    for (int d = 0; d < kAddRowsDeep; ++d) {
      const int64_t here = at + (sorted ? d : d * a.period);
      if (some < d || here >= a.count || (sorted && load_constant(a.sorted.rows + here)[0] != row)) continue;
      numbers[d] = sorted ? load_constant(a.sorted.numbers + here)[0] : static_cast<int32_t>(here);
      ++some;
    }
    Packed<T, N> x[kAddRowsDeep];
#pragma unroll
    for (int d = 0; d < kAddRowsDeep; ++d)
      if (d < some) x[d] = Packed<T, N>(load_constant<N>(a.x + int64_t{numbers[d]} * a.columns + piece * N));
#pragma unroll
    for (int d = 0; d < kAddRowsDeep; ++d) {
      if (d >= some) continue;
      const Vec<T, N> from = x[d].unpack();
      float values[N];
#pragma unroll
      for (int i = 0; i < N; ++i) values[i] = static_cast<float>(from[i]);
      if (a.dropout.drops()) a.dropout.apply(int64_t{numbers[d]} * a.columns + piece * N, values);
#pragma unroll
      for (int i = 0; i < N; ++i) sum[i] += a.scale * values[i];
    }
    if (some < kAddRowsDeep) break;
  }
  store(to, sum);
}

template <class T>
Status launch_add_rows(const Gpu& gpu, const char* name, AddRows<T> a) {
  const bool vectors = aligned16(a.x) && aligned16(a.y) && a.columns % kAddRowsColumns == 0;
  const int pieces = vectors ? a.columns / kAddRowsColumns : a.columns;
  for (a.width = 1; a.width < kWarpSize && a.width < pieces;) a.width *= 2;
  const int64_t teams = a.sorted.rows ? a.count : a.period, slots = kLaneRowThreads / a.width;
  const int64_t slices = (pieces + a.width - 1) / a.width;
  if (slices > 65535) return unsupported("adding to rows of " + std::to_string(a.columns) + " columns");
  const dim3 grid(static_cast<unsigned>((teams + slots - 1) / slots), static_cast<unsigned>(slices));
  return launch(gpu, LaunchShape{name, grid, dim3(kLaneRowThreads)}, vectors ? add_rows<T, kAddRowsColumns> : add_rows<T, 1>, a);
}

}  // namespace
}  // namespace tilewise::TILEWISE_GPU
