// What the forward and the backward pass of layer norm and RMS norm share: their parameters. Everything is in f32.
#pragma once
#include "dropout.cuh"
#include "rows.cuh"

namespace tilewise::TILEWISE_GPU {
namespace {

// A weight or bias [n] in f32 or the rows' dtype; absent ones are `standard` everywhere.
struct Parameter {
  const void* data;
  bool f32;

  explicit Parameter(const View& view) : data(view ? view.data : nullptr), f32(view && view.dtype == DType::f32) {}
  template <class T, int N>
  __device__ __forceinline__ void load(int64_t at, float standard, float (&out)[N], SITE) const {
    if (!data) {
#pragma unroll
      for (int i = 0; i < N; ++i) out[i] = standard;
    } else if (f32) {
      constexpr int kWide = N < 4 ? N : 4;
#pragma unroll
      for (int i = 0; i < N; i += kWide) {
        const auto part = load_constant<kWide>(static_cast<const float*>(data) + at + i, site);
#pragma unroll
        for (int j = 0; j < kWide; ++j) out[i + j] = part[j];
      }
    } else {
      const auto part = load_constant<N>(static_cast<const T*>(data) + at, site);
#pragma unroll
      for (int i = 0; i < N; ++i) out[i] = static_cast<float>(part[i]);
    }
  }
};

template <class T>
T* pointer(const View& view) {
  return view ? view.as<T>() : nullptr;
}

inline Status too_large(const View& x) { return unsupported("a norm of " + x.shape_string()); }

}  // namespace
}  // namespace tilewise::TILEWISE_GPU
