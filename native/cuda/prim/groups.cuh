// Four neighbouring columns of a row: as few registers as hide latency, as many elements as share one block of random numbers.
#pragma once
#include "../../core/scalar.h"
#include "../ptx/convert.cuh"
#include "vector.cuh"

namespace tilewise::TILEWISE_GPU {

constexpr int kGroup = 4;  // columns

// n of four elements may be accessed; `vectors` where all four at once.
template <class T>
__device__ __forceinline__ Vec<T, kGroup> load_group(const T* from, int n, bool vectors, SITE) {
  if (vectors && n >= kGroup) return load<kGroup>(from, site);
  Vec<T, kGroup> out;
#pragma unroll
  for (int i = 0; i < kGroup; ++i) out[i] = i < n ? load(from + i, site)[0] : T(0.0f);
  return out;
}
template <class T>
__device__ __forceinline__ void store_group(T* to, const float (&v)[kGroup], int n, bool vectors, SITE) {
  Vec<T, kGroup> out;
  if constexpr (sizeof(T) == 2) {
    const uint32_t pairs[2] = {pack<T>(v[0], v[1]), pack<T>(v[2], v[3])};
    memcpy(static_cast<void*>(&out), pairs, sizeof out);
  } else {
#pragma unroll
    for (int i = 0; i < kGroup; ++i) out[i] = v[i];
  }
  if (vectors && n >= kGroup) {
    store(to, out, site);
    return;
  }
#pragma unroll
  for (int i = 0; i < kGroup; ++i)
    if (i < n) store(to + i, Vec<T, 1>{{out[i]}}, site);
}

template <class Act>
__device__ __forceinline__ void activate_group(float (&v)[kGroup]) {
#pragma unroll
  for (int i = 0; i < kGroup; ++i) v[i] = Act::f(v[i]);
}
template <class Act>
__device__ __forceinline__ void derive_group(const float (&x)[kGroup], float (&f)[kGroup], float (&df)[kGroup]) {
#pragma unroll
  for (int i = 0; i < kGroup; ++i) f[i] = Act::f(x[i]), df[i] = Act::df(x[i]);
}

// Calls name<activation>(arguments): the switch of core/scalar.h as statements, because device code has no lambdas here.
#define TILEWISE_ACTIVATION_SWITCH(kind, name, ...) \
  switch (kind) {                                   \
    case Activation::none:                          \
      name<scalar::None>(__VA_ARGS__);              \
      break;                                        \
    case Activation::relu:                          \
      name<scalar::Relu>(__VA_ARGS__);              \
      break;                                        \
    case Activation::gelu:                          \
      name<scalar::Gelu>(__VA_ARGS__);              \
      break;                                        \
    case Activation::gelu_tanh:                     \
      name<scalar::GeluTanh>(__VA_ARGS__);          \
      break;                                        \
    case Activation::silu:                          \
      name<scalar::Silu>(__VA_ARGS__);              \
      break;                                        \
    case Activation::relu2:                         \
      name<scalar::Relu2>(__VA_ARGS__);             \
      break;                                        \
  }

__device__ __forceinline__ void activate(Activation kind,
                                         float (&v)[kGroup]){TILEWISE_ACTIVATION_SWITCH(kind, activate_group, v)} __device__ __forceinline__
    void derive(Activation kind, const float (&x)[kGroup], float (&f)[kGroup], float (&df)[kGroup]) {
  TILEWISE_ACTIVATION_SWITCH(kind, derive_group, x, f, df)
}

}  // namespace tilewise::TILEWISE_GPU
