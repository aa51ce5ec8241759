// prefetch: asks for the line of an address ahead of its use, without a register that waits for it (PTX ISA, "prefetch, prefetchu").
#pragma once
#include "../../simt/simt.h"

namespace tilewise::TILEWISE_GPU {

// To L2. A hint: nothing but time depends on it, so its model does nothing.
__device__ __forceinline__ void prefetch_l2([[maybe_unused]] const void* global) {
#if defined(__CUDACC__)
  asm volatile("prefetch.global.L2 [%0];\n" ::"l"(global));
#endif
}

}  // namespace tilewise::TILEWISE_GPU
