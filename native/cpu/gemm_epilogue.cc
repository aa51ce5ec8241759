#include "gemm_epilogue.h"

#include <immintrin.h>

#include <algorithm>
#include <cstring>

// One version of a loop an instruction set, chosen when the library is loaded. Loops below are leaves: no OpenMP region inside a clone.
#if defined(__GNUC__) && !defined(__clang__)
#define TILEWISE_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define TILEWISE_CLONES
#endif

namespace tilewise::cpu {
namespace {

// A strip of one row goes through all stages while it lies in the L1 cache.
constexpr int64_t kStrip = 512;

template <class T>
inline __attribute__((always_inline)) const T* at(const void* data, int64_t offset) {
  return static_cast<const T*>(data) + offset;
}

// product null: zeros.
TILEWISE_CLONES void scale(const float* product, float alpha, float* v, int64_t n) {
  if (!product) {
    std::memset(v, 0, static_cast<size_t>(n) * sizeof(float));
  } else {
    for (int64_t i = 0; i < n; ++i) v[i] = alpha * product[i];
  }
}

// v may be x or the product.
TILEWISE_CLONES void combine(const float* product, float alpha, const float* x, float factor, float* v, int64_t n) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) v[i] = alpha * product[i] + factor * x[i];
}

TILEWISE_CLONES void combine_bf16(const float* product, float alpha, const bf16* x, float factor, float* v, int64_t n) {
  for (int64_t i = 0; i < n; ++i) v[i] = alpha * product[i] + factor * static_cast<float>(x[i]);
}

TILEWISE_CLONES void add_f32(const float* x, float factor, float* v, int64_t n) {
  for (int64_t i = 0; i < n; ++i) v[i] += factor * x[i];
}

TILEWISE_CLONES void add_bf16(const bf16* x, float factor, float* v, int64_t n) {
  for (int64_t i = 0; i < n; ++i) v[i] += factor * static_cast<float>(x[i]);
}

TILEWISE_CLONES void widen(const bf16* x, float* v, int64_t n) {
  for (int64_t i = 0; i < n; ++i) v[i] = static_cast<float>(x[i]);
}

TILEWISE_CLONES void narrow_anywhere(const float* v, bf16* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = bf16(v[i]);
}

// Three times as fast as the integer arithmetic; the same roundings, but subnormal results become zero.
__attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16"))) void narrow_by_instruction(const float* v, bf16* y, int64_t n) {
  for (int64_t i = 0; i < n; i += 16) {
    const __mmask16 mask = static_cast<__mmask16>(n - i >= 16 ? 0xffff : (1 << (n - i)) - 1);
    const __m256bh rounded = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, v + i));
    _mm256_mask_storeu_epi16(y + i, mask, (__m256i)rounded);
  }
}

void narrow(const float* v, bf16* y, int64_t n) {
  static const bool has_instruction = __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vl");
  if (has_instruction) {
    narrow_by_instruction(v, y, n);
  } else {
    narrow_anywhere(v, y, n);
  }
}

TILEWISE_CLONES void activate(Activation kind, float* v, int64_t n) {
  switch (kind) {
    case Activation::none:
      return;
    case Activation::relu:
      for (int64_t i = 0; i < n; ++i) v[i] = scalar::Relu::f(v[i]);
      return;
    case Activation::gelu:
      for (int64_t i = 0; i < n; ++i) v[i] = scalar::Gelu::f(v[i]);
      return;
    case Activation::gelu_tanh:
      for (int64_t i = 0; i < n; ++i) v[i] = scalar::GeluTanh::f(v[i]);
      return;
    case Activation::silu:
      for (int64_t i = 0; i < n; ++i) v[i] = scalar::Silu::f(v[i]);
      return;
    case Activation::relu2:
      for (int64_t i = 0; i < n; ++i) v[i] = scalar::Relu2::f(v[i]);
      return;
  }
}

TILEWISE_CLONES void multiply_by_derivative(Activation kind, const float* x, float* v, int64_t n) {
  switch (kind) {
    case Activation::none:
      return;
    case Activation::relu:
      for (int64_t i = 0; i < n; ++i) v[i] *= scalar::Relu::df(x[i]);
      return;
    case Activation::gelu:
      for (int64_t i = 0; i < n; ++i) v[i] *= scalar::Gelu::df(x[i]);
      return;
    case Activation::gelu_tanh:
      for (int64_t i = 0; i < n; ++i) v[i] *= scalar::GeluTanh::df(x[i]);
      return;
    case Activation::silu:
      for (int64_t i = 0; i < n; ++i) v[i] *= scalar::Silu::df(x[i]);
      return;
    case Activation::relu2:
      for (int64_t i = 0; i < n; ++i) v[i] *= scalar::Relu2::df(x[i]);
      return;
  }
}

void add(const void* x, DType dtype, int64_t offset, float factor, float* v, int64_t n) {
  if (dtype == DType::f32) {
    add_f32(at<float>(x, offset), factor, v, n);
  } else {
    add_bf16(at<bf16>(x, offset), factor, v, n);
  }
}

void store(const float* v, void* y, DType dtype, int64_t offset, int64_t n) {
  if (dtype == DType::f32) {
    std::memcpy(static_cast<float*>(y) + offset, v, static_cast<size_t>(n) * sizeof(float));
  } else {
    narrow(v, static_cast<bf16*>(y) + offset, n);
  }
}

}  // namespace

void finish(const Block& block, const Gemm& g, void* c, const Epilogue& e) {
  alignas(64) float local[kStrip], bias[kStrip], x[kStrip];
  const bool in_place = g.dtype_c == DType::f32;  // C itself is then where the stages work
  const bool only_rounds = !in_place && is_identity(e) && block.product && block.alpha == 1 && block.beta == 0;
  const int64_t next_row = g.ldc * static_cast<int64_t>(size_of(g.dtype_c));
  for (int64_t j = 0; j < block.columns; j += kStrip) {
    const int64_t column = block.column + j, n = std::min(kStrip, block.columns - j);
    if (e.bias) {
      std::memset(bias, 0, sizeof(bias));
      add(e.bias, e.bias_dtype, column, 1, bias, n);
    }
    for (int64_t i = 0; i < block.rows; ++i) {
      const int64_t row = block.row + i, at_c = row * g.ldc + column;
      const float* product = block.product ? block.product + i * block.product_ld + j : nullptr;
      char* const to = static_cast<char*>(c) + at_c * static_cast<int64_t>(size_of(g.dtype_c));
      if (i + 1 < block.rows)  // a store to a line that is not in the cache waits for it
        for (int64_t byte = 0; byte < n * static_cast<int64_t>(size_of(g.dtype_c)); byte += 64) __builtin_prefetch(to + next_row + byte, 1);
      if (only_rounds) {
        narrow(product, reinterpret_cast<bf16*>(to), n);
        continue;
      }
      float* const v = in_place ? reinterpret_cast<float*>(to) : local;
      const bool reads_c = block.beta != 0;
      if (product && reads_c) {
        if (in_place) {
          combine(product, block.alpha, v, block.beta, v, n);
        } else {
          combine_bf16(product, block.alpha, reinterpret_cast<const bf16*>(to), block.beta, v, n);
        }
        if (e.bias) add_f32(bias, 1, v, n);
      } else if (product && !reads_c && e.bias) {
        combine(product, block.alpha, bias, 1, v, n);
      } else {
        if (!product && in_place && reads_c) {
          scale(v, block.beta, v, n);
        } else {
          if (product != v || block.alpha != 1) scale(product, block.alpha, v, n);
          if (reads_c) add(c, g.dtype_c, at_c, block.beta, v, n);
        }
        if (e.bias) add_f32(bias, 1, v, n);
      }
      if (e.pre_activation.data) store(v, e.pre_activation.data, e.pre_activation.dtype, row * e.pre_activation.ld + column, n);
      if (!e.gradient_at.data) {
        activate(e.activation, v, n);
      } else if (e.gradient_at.dtype == DType::f32) {
        multiply_by_derivative(e.activation, at<float>(e.gradient_at.data, row * e.gradient_at.ld + column), v, n);
      } else {
        widen(at<bf16>(e.gradient_at.data, row * e.gradient_at.ld + column), x, n);
        multiply_by_derivative(e.activation, x, v, n);
      }
      if (e.residual.data) add(e.residual.data, e.residual.dtype, row * e.residual.ld + column, 1, v, n);
      if (!in_place) narrow(v, reinterpret_cast<bf16*>(to), n);
    }
  }
}

}  // namespace tilewise::cpu
