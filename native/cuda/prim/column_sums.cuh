// Sums over the rows of a matrix: what the gradient of a bias is. In fixed order, in two passes where there are many rows.
#pragma once
#include "../tune.h"
#include "dispatch.h"
#include "groups.cuh"

namespace tilewise::TILEWISE_GPU {

struct ColumnSums {
  const void* x = nullptr;  // [rows, columns]
  int64_t ld = 0, rows = 0, columns = 0;
  // Given `at`, [rows, columns] and dense: x is multiplied by the activation's derivative there first, and the product stored, dense too.
  const void* at = nullptr;
  void* product = nullptr;
  Activation activation = Activation::none;
  float* sums = nullptr;  // += the sums; null: only the product is wanted
  // --- set by the launcher
  int64_t height = 0;         // rows of a block
  int64_t column_blocks = 0;  // of the grid
  bool adds = false;          // to sums; else block b of rows writes row b of them
  bool vectors = false;
};

constexpr int kColumnSumsThreads = 256, kColumnSumsColumns = kWarpSize * kGroup;

// Bytes that a lane asks for before it adds any of them: 32 warps of a multiprocessor keep its memory busy so.
constexpr int kColumnSumsBytes = 64;

// Multiplies a row's elements by the derivative, and stores the product.
template <class T>
__device__ __forceinline__ Vec<T, kGroup> column_gradient(const ColumnSums& c, int64_t row, int64_t column, int n, Vec<T, kGroup> x,
                                                          const Vec<T, kGroup>& at) {
  float v[kGroup], f[kGroup], df[kGroup];
#pragma unroll
  for (int i = 0; i < kGroup; ++i) v[i] = static_cast<float>(at[i]);
  derive(c.activation, v, f, df);
#pragma unroll
  for (int i = 0; i < kGroup; ++i) {
    v[i] = static_cast<float>(x[i]) * df[i];
    x[i] = T(v[i]);
  }
  store_group(static_cast<T*>(c.product) + row * c.columns + column, v, n, c.vectors);
  return x;
}

template <class T>
__device__ __forceinline__ void add_to(Vec<float, kGroup>& sum, const Vec<T, kGroup>& x) {
#pragma unroll
  for (int i = 0; i < kGroup; ++i) sum[i] += static_cast<float>(x[i]);
}

// Every eighth row from `row` on, several asked for before any is added.
template <class T, bool derives>
__device__ __forceinline__ void add_column_rows(const ColumnSums& c, int64_t row, int64_t end, int64_t column, Vec<float, kGroup>& sum) {
  constexpr int kWarps = kColumnSumsThreads / kWarpSize;
  constexpr int kDeep = kColumnSumsBytes / static_cast<int>(kGroup * sizeof(T) * (derives ? 2 : 1));
  const T *const xs = static_cast<const T*>(c.x) + column, *const ats = static_cast<const T*>(c.at) + column;
  for (; row < end; row += kDeep * kWarps) {
    // Past the end the last row again: a branch around a load makes the compiler wait for the one before.
    Packed<T, kGroup> x[kDeep], at[derives ? kDeep : 1];
#pragma unroll
    for (int d = 0; d < kDeep; ++d) {
      const int64_t here = min(row + d * kWarps, end - 1);
      x[d] = load_packed<kGroup>(xs + here * c.ld);
      if constexpr (derives) at[d] = load_packed<kGroup>(ats + here * c.columns);
    }
    if constexpr (derives) {
      // Derivatives are many instructions, and stand here once.
#pragma unroll 1
      for (int d = 0; d < kDeep && row + d * kWarps < end; ++d) {
        add_to(sum, column_gradient<T>(c, row + d * kWarps, column, kGroup, x[0].unpack(), at[0].unpack()));
        rotate(x);
        rotate(at);
      }
    } else {
#pragma unroll
      for (int d = 0; d < kDeep; ++d)
        if (row + d * kWarps < end) add_to(sum, x[d].unpack());
    }
  }
}

// The same of n columns that may not be accessed together.
template <class T, bool derives>
__device__ __forceinline__ void add_column_elements(const ColumnSums& c, int64_t row, int64_t end, int64_t column, int n,
                                                    Vec<float, kGroup>& sum) {
  constexpr int kWarps = kColumnSumsThreads / kWarpSize;
#pragma unroll(derives ? 1 : 4)
  for (; row < end; row += kWarps) {
    auto x = load_group(static_cast<const T*>(c.x) + row * c.ld + column, n, false);
    if constexpr (derives)
      x = column_gradient<T>(c, row, column, n, x, load_group(static_cast<const T*>(c.at) + row * c.columns + column, n, false));
    add_to(sum, x);
  }
}

// A warp a row, eight rows at a time; a lane a group of columns.
template <class T, bool derives>
__global__ void __launch_bounds__(kColumnSumsThreads, 4) column_sums_kernel(const __grid_constant__ ColumnSums c) {
  constexpr int kWarps = kColumnSumsThreads / kWarpSize;
  SHARED_ARRAY(float, partial, kWarps* kColumnSumsColumns);
  const int warp = threadIdx.x / kWarpSize, lane = threadIdx.x % kWarpSize;
  const int64_t first_column = blockIdx.x % c.column_blocks * kColumnSumsColumns, block = blockIdx.x / c.column_blocks;
  const int64_t column = first_column + lane * kGroup;
  const int64_t left = c.columns - column;
  const int n = left < kGroup ? static_cast<int>(left) : kGroup;
  const int64_t first = block * c.height + warp, end = (block + 1) * c.height < c.rows ? (block + 1) * c.height : c.rows;
  Vec<float, kGroup> sum{};
  // The branch is here, not at each load, where it would hold up the next one.
  if (c.vectors && n == kGroup)
    add_column_rows<T, derives>(c, first, end, column, sum);
  else if (n > 0)
    add_column_elements<T, derives>(c, first, end, column, n, sum);
  if (!c.sums) return;
  store_shared(partial + warp * kColumnSumsColumns + lane * kGroup, sum);
  __syncthreads();
  const int64_t mine = first_column + threadIdx.x;
  if (threadIdx.x >= kColumnSumsColumns || mine >= c.columns) return;
  float total = 0.0f;
#pragma unroll
  for (int w = 0; w < kWarps; ++w) total += load_shared(partial + w * kColumnSumsColumns + threadIdx.x)[0];
  float* to = c.sums + (c.adds ? 0 : block * c.columns) + mine;
  store_float(to, c.adds ? load_float(to) + total : total);
}

template <class T, bool derives>
Status launch_column_sums(const Gpu& gpu, ColumnSums c, int64_t row_blocks) {
  c.column_blocks = ceil_div(c.columns, kColumnSumsColumns);
  c.height = ceil_div(c.rows, row_blocks);
  const int64_t blocks = c.column_blocks * row_blocks;
  if (blocks > 0x7fffffff) return unsupported("sums of " + std::to_string(c.columns) + " columns");
  const auto aligned = [](const void* data, size_t size) { return reinterpret_cast<uintptr_t>(data) % size == 0; };
  c.vectors = c.ld % kGroup == 0 && aligned(c.x, kGroup * sizeof(T));
  if (derives)
    c.vectors = c.vectors && c.columns % kGroup == 0 && aligned(c.at, kGroup * sizeof(T)) && aligned(c.product, kGroup * sizeof(T));
  return launch(gpu,
                LaunchShape{derives ? "activation_gradient" : "column_sums", dim3(static_cast<unsigned>(blocks)), dim3(kColumnSumsThreads)},
                column_sums_kernel<T, derives>, c);
}

inline Status add_column_sums(Context& context, DType dtype, ColumnSums c) {
  if (c.rows == 0 || c.columns == 0) return Status::ok();
  const Gpu& gpu = gpu_of(context);
  // Blocks of at least 128 rows, and no more of them than fill the device eight times: the second pass reads a row of each.
  const int64_t most = ceil_div(8 * gpu.multiprocessors, ceil_div(c.columns, kColumnSumsColumns));
  int64_t row_blocks = ceil_div(c.rows, 128);
  if (row_blocks > most) row_blocks = most;
  row_blocks = ceil_div(c.rows, ceil_div(c.rows, row_blocks));
  float* const sums = c.sums;
  c.adds = row_blocks == 1;
  if (sums && row_blocks > 1) {
    void* memory = nullptr;
    TILEWISE_RETURN_IF_ERROR(context.scratch(static_cast<size_t>(row_blocks * c.columns) * sizeof(float), &memory));
    c.sums = static_cast<float*>(memory);
  }
  TILEWISE_RETURN_IF_ERROR(dispatch_float(dtype, [&](auto type) {
    using T = decltype(type);
    return c.at ? launch_column_sums<T, true>(gpu, c, row_blocks) : launch_column_sums<T, false>(gpu, c, row_blocks);
  }));
  if (!sums || row_blocks == 1) return Status::ok();
  ColumnSums rest;
  rest.x = c.sums, rest.ld = rest.columns = c.columns, rest.rows = row_blocks;
  rest.sums = sums, rest.adds = true;
  return launch_column_sums<float, false>(gpu, rest, 1);
}

}  // namespace tilewise::TILEWISE_GPU
