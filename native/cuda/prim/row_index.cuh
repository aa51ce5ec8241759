// Row numbers that come as data. One outside of its table is reported and then counts as no row.
#pragma once
#include "vector.cuh"

namespace tilewise::TILEWISE_GPU {

// which: 0 the op's index tensor, 1 its second one.
__device__ __forceinline__ void report_fault(DeviceFault* fault, int which, int64_t at, int32_t value) {
  atomicMin(&fault->first[which], static_cast<unsigned long long>(at) << 32 | static_cast<uint32_t>(value));
}

// index[n % period], or -1 where it is not in [0, rows).
struct RowIndex {
  const int32_t* index;
  int64_t period;
  int64_t rows;
  DeviceFault* fault;
  int which;

  // n % period; both are below 2^31, and 64-bit division is a call.
  __device__ __forceinline__ int64_t place(int64_t n) const { return static_cast<uint32_t>(n) % static_cast<uint32_t>(period); }
  __device__ __forceinline__ int32_t operator()(int64_t n, SITE) const {
    const int64_t at = n < period ? n : place(n);
    const int32_t row = load_constant(index + at, site)[0];
    if (row >= 0 && row < rows) return row;
    report_fault(fault, which, at, row);
    return -1;
  }
};

}  // namespace tilewise::TILEWISE_GPU
