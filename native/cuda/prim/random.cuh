// Random numbers for N neighbouring elements of a thread, the first of which is a multiple of four: the words of core/random.h.
#pragma once
#include "../../core/random.h"
#include "../../simt/simt.h"

namespace tilewise::TILEWISE_GPU {

template <int N>
__device__ __forceinline__ void random_words(uint64_t seed, uint64_t counter, uint64_t first, uint32_t (&words)[N]) {
  static_assert(N % 4 == 0);
#pragma unroll
  for (int i = 0; i < N; i += 4) {
    const random::Words4 block = random::philox4x32(seed, counter, (first + i) / 4);
#pragma unroll
    for (int j = 0; j < 4; ++j) words[i + j] = block.lane[j];
  }
}

}  // namespace tilewise::TILEWISE_GPU
