// Element-wise functions and their derivatives. kind numbers: lib/ops/untaped.ts.
#include "../../core/scalar.h"
#include "../prim/elementwise.cuh"
#include "../prim/trigonometry.cuh"

namespace tilewise::TILEWISE_GPU {
namespace {

#define TILEWISE_UNARY(Name, value, derivative)                                \
  struct Name {                                                                \
    static __device__ __forceinline__ float f(float x) { return value; }       \
    static __device__ __forceinline__ float df(float x) { return derivative; } \
  };
TILEWISE_UNARY(Exp, scalar::exp(x), scalar::exp(x))
TILEWISE_UNARY(Log, logf(x), 1.0f / x)
TILEWISE_UNARY(Sqrt, sqrtf(x), 0.5f / sqrtf(x))
TILEWISE_UNARY(Rsqrt, 1.0f / sqrtf(x), -0.5f / (x * sqrtf(x)))
TILEWISE_UNARY(Square, x* x, 2.0f * x)
TILEWISE_UNARY(Abs, fabsf(x), x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x)
TILEWISE_UNARY(Sin, sine(x), cosine(x))
TILEWISE_UNARY(Cos, cosine(x), -sine(x))
TILEWISE_UNARY(Erf, scalar::erf(x), 1.12837916709551257f * scalar::exp(-x * x))
#undef TILEWISE_UNARY

struct Tanh {
  static __device__ __forceinline__ float f(float x) { return scalar::tanh(x); }
  static __device__ __forceinline__ float df(float x) {
    const float t = scalar::tanh(x);
    return 1.0f - t * t;
  }
};
struct Sigmoid {
  static __device__ __forceinline__ float f(float x) { return scalar::sigmoid(x); }
  static __device__ __forceinline__ float df(float x) {
    const float s = scalar::sigmoid(x);
    return s * (1.0f - s);
  }
};

// By kind number; Relu2, the last one, is what remains.
#define TILEWISE_UNARY_FUNCTIONS(X) \
  X(0, Exp)                         \
  X(1, Log)                         \
  X(2, Sqrt)                        \
  X(3, Rsqrt)                       \
  X(4, Square)                      \
  X(5, Abs)                         \
  X(6, Sin)                         \
  X(7, Cos)                         \
  X(8, Erf)                         \
  X(9, Tanh)                        \
  X(10, Sigmoid)                    \
  X(11, scalar::Relu)               \
  X(12, scalar::Gelu)               \
  X(13, scalar::GeluTanh)           \
  X(14, scalar::Silu)

constexpr int32_t kLastKind = 15;

template <class F, class T, int N>
__device__ __forceinline__ void value_of(Vec<T, N>& y, const Vec<T, N>& x) {
#pragma unroll
  for (int i = 0; i < N; ++i) y[i] = T(F::f(static_cast<float>(x[i])));
}
template <class F, class T, int N>
__device__ __forceinline__ void gradient_of(Vec<T, N>& dx, const Vec<T, N>& dy, const Vec<T, N>& x) {
#pragma unroll
  for (int i = 0; i < N; ++i) dx[i] = T(static_cast<float>(dy[i]) * F::df(static_cast<float>(x[i])));
}

struct Value {
  static constexpr bool kVectors = true;
  int32_t kind;
  template <class T, int N>
  __device__ __forceinline__ void operator()(Vec<T, N>& y, const Vec<T, N>& x) const {
    switch (kind) {
#define X(number, F) \
  case number:       \
    return value_of<F>(y, x);
      TILEWISE_UNARY_FUNCTIONS(X)
#undef X
      default:
        return value_of<scalar::Relu2>(y, x);
    }
  }
};

struct Gradient {
  static constexpr bool kVectors = true;
  int32_t kind;
  template <class T, int N>
  __device__ __forceinline__ void operator()(Vec<T, N>& dx, const Vec<T, N>& dy, const Vec<T, N>& x) const {
    switch (kind) {
#define X(number, F) \
  case number:       \
    return gradient_of<F>(dx, dy, x);
      TILEWISE_UNARY_FUNCTIONS(X)
#undef X
      default:
        return gradient_of<scalar::Relu2>(dx, dy, x);
    }
  }
};

}  // namespace

Status unary(Context& context, const unary_args& a) {
  if (a.kind < 0 || a.kind > kLastKind) return Status::error(Code::invalid_argument, "unary kind " + std::to_string(a.kind));
  return dispatch_float(a.x.dtype, [&](auto type) {
    using T = decltype(type);
    return map<T, T>(context, "unary", Value{a.kind}, a.y, a.x);
  });
}

Status unary_backward(Context& context, const unary_backward_args& a) {
  if (a.kind < 0 || a.kind > kLastKind) return Status::error(Code::invalid_argument, "unary kind " + std::to_string(a.kind));
  return dispatch_float(a.x.dtype, [&](auto type) {
    using T = decltype(type);
    return map<T, T, T>(context, "unary_backward", Gradient{a.kind}, a.dx, a.dy, a.x);
  });
}

}  // namespace tilewise::TILEWISE_GPU
