// cp.async: copies from global to shared memory that the thread does not wait for (PTX ISA, "Data Movement: cp.async"; sm_80 and up).
// What a thread has waited for is visible to itself; other threads need a barrier after that.
#pragma once
#include "../../simt/simt.h"

namespace tilewise::TILEWISE_GPU {

// Copies Bytes = 4, 8 or 16, both addresses multiples of that. Only the first `valid` bytes are read; the rest becomes zero.
template <int Bytes>
__device__ __forceinline__ void copy_async(void* shared, const void* global, int valid = Bytes, SITE) {
  static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16);
#if defined(__CUDACC__)
  const uint32_t to = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  if constexpr (Bytes == 16)  // past L1: tiles are read once by a block
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(to), "l"(global), "r"(valid) : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;\n" ::"r"(to), "l"(global), "n"(Bytes), "r"(valid) : "memory");
#else
  if (valid > 0) note_load(global, static_cast<uint32_t>(valid), site);
  note_shared(shared, Bytes, site);
  Machine::active()->copy_async(shared, global, Bytes, static_cast<uint32_t>(valid), site);
#endif
}

// Ends a group of the thread's copies.
__device__ __forceinline__ void copy_async_commit(SITE) {
#if defined(__CUDACC__)
  asm volatile("cp.async.commit_group;\n" ::: "memory");
#else
  Machine::active()->commit_copies(site);
#endif
}

// Waits until at most Pending of the thread's latest groups are under way.
template <int Pending>
__device__ __forceinline__ void copy_async_wait(SITE) {
#if defined(__CUDACC__)
  asm volatile("cp.async.wait_group %0;\n" ::"n"(Pending) : "memory");
#else
  Machine::active()->wait_copies(Pending, site);
#endif
}

}  // namespace tilewise::TILEWISE_GPU
