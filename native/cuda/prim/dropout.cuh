// Dropout inside of other kernels: the mask is drawn from the counter (core/random.h), forward and backward alike.
#pragma once
#include "../../core/random.h"
#include "../../simt/simt.h"

namespace tilewise::TILEWISE_GPU {

struct Dropout {
  float p, kept;
  uint64_t seed, counter;

  Dropout(float p, uint64_t seed, uint64_t counter) : p(p), kept(1.0f / (1.0f - p)), seed(seed), counter(counter) {}
  __device__ __forceinline__ bool drops() const { return p > 0.0f; }

  // The elements from `element` on: of one, or of a multiple of four from a multiple of four on.
  template <int N>
  __device__ __forceinline__ void apply(int64_t element, float (&values)[N]) const {
    if constexpr (N % 4 == 0) {
#pragma unroll
      for (int i = 0; i < N; i += 4) {
        const random::Words4 words = random::philox4x32(seed, counter, static_cast<uint64_t>(element + i) >> 2);
#pragma unroll
        for (int j = 0; j < 4; ++j) values[i + j] = random::value_if(random::keep(words.lane[j], p), kept * values[i + j]);
      }
    } else {
      static_assert(N == 1);
      values[0] = random::value_if(random::keep(random::word(seed, counter, static_cast<uint64_t>(element)), p), kept * values[0]);
    }
  }
};

}  // namespace tilewise::TILEWISE_GPU
