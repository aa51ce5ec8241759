// Where the factors of one product of a batch lie.
#pragma once
#include "../gemm.h"

namespace tilewise::TILEWISE_GPU {

struct BatchOffsets {
  int64_t a = 0, b = 0;  // elements

  __device__ __forceinline__ BatchOffsets(const GemmBatch& batch, int64_t index) {
    for (int64_t i = batch.rank - 1, rest = index; i >= 0; --i) {
      const int64_t at = rest % batch.dims[i];
      rest /= batch.dims[i];
      a += at * batch.strides_a[i];
      b += at * batch.strides_b[i];
    }
  }
};

}  // namespace tilewise::TILEWISE_GPU
