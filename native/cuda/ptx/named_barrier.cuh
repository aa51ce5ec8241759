// bar.sync and bar.arrive: barriers 1 to 15 of a block, for some of its warps (PTX ISA, "Parallel Synchronization and Communication
// Instructions: bar"). What a thread wrote before it arrived is visible to those that have waited.
#pragma once
#include "../../simt/simt.h"

namespace tilewise::TILEWISE_GPU {

// Waits until `threads` threads, whole warps, have arrived, this one among them.
__device__ __forceinline__ void named_barrier_sync(int id, int threads, SITE) {
#if defined(__CUDACC__)
  asm volatile("bar.sync %0, %1;\n" ::"r"(id), "r"(threads) : "memory");
#else
  Machine::active()->named_barrier(id, threads, true, site);
#endif
}

// Arrives without waiting.
__device__ __forceinline__ void named_barrier_arrive(int id, int threads, SITE) {
#if defined(__CUDACC__)
  asm volatile("bar.arrive %0, %1;\n" ::"r"(id), "r"(threads) : "memory");
#else
  Machine::active()->named_barrier(id, threads, false, site);
#endif
}

}  // namespace tilewise::TILEWISE_GPU
