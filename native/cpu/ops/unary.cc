// Element-wise functions and their derivatives. kind numbers: lib/ops/untaped.ts.
#include <cmath>

#include "../../core/scalar.h"
#include "../elementwise.h"

namespace tilewise::cpu::TILEWISE_ISA {
namespace {

#define TILEWISE_UNARY(Name, value, derivative)                                           \
  struct Name {                                                                           \
    static inline __attribute__((always_inline)) float f(float x) { return value; }       \
    static inline __attribute__((always_inline)) float df(float x) { return derivative; } \
  };
TILEWISE_UNARY(Exp, scalar::exp(x), scalar::exp(x))
TILEWISE_UNARY(Log, std::log(x), 1.0f / x)
TILEWISE_UNARY(Sqrt, std::sqrt(x), 0.5f / std::sqrt(x))
TILEWISE_UNARY(Rsqrt, 1.0f / std::sqrt(x), -0.5f / (x * std::sqrt(x)))
TILEWISE_UNARY(Square, x* x, 2.0f * x)
TILEWISE_UNARY(Abs, std::fabs(x), x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x)
TILEWISE_UNARY(Sin, std::sin(x), std::cos(x))
TILEWISE_UNARY(Cos, std::cos(x), -std::sin(x))
TILEWISE_UNARY(Erf, scalar::erf(x), 1.12837916709551257f * scalar::exp(-x * x))
#undef TILEWISE_UNARY

struct Tanh {
  static inline __attribute__((always_inline)) float f(float x) { return scalar::tanh(x); }
  static inline __attribute__((always_inline)) float df(float x) {
    const float t = scalar::tanh(x);
    return 1.0f - t * t;
  }
};
struct Sigmoid {
  static inline __attribute__((always_inline)) float f(float x) { return scalar::sigmoid(x); }
  static inline __attribute__((always_inline)) float df(float x) {
    const float s = scalar::sigmoid(x);
    return s * (1.0f - s);
  }
};

template <class Body>
Status with_function(int32_t kind, Body&& body) {
  switch (kind) {
    case 0:
      return body(Exp{});
    case 1:
      return body(Log{});
    case 2:
      return body(Sqrt{});
    case 3:
      return body(Rsqrt{});
    case 4:
      return body(Square{});
    case 5:
      return body(Abs{});
    case 6:
      return body(Sin{});
    case 7:
      return body(Cos{});
    case 8:
      return body(Erf{});
    case 9:
      return body(Tanh{});
    case 10:
      return body(Sigmoid{});
    case 11:
      return body(scalar::Relu{});
    case 12:
      return body(scalar::Gelu{});
    case 13:
      return body(scalar::GeluTanh{});
    case 14:
      return body(scalar::Silu{});
    case 15:
      return body(scalar::Relu2{});
    default:
      return Status::error(Code::invalid_argument, "unary kind " + std::to_string(kind));
  }
}

}  // namespace

Status unary(Context&, const unary_args& a) {
  return dispatch_float(a.x.dtype, [&](auto type) {
    using T = decltype(type);
    return with_function(a.kind, [&](auto function) {
      map1<T, T>(a.x, a.y, [](T x) { return decltype(function)::f(static_cast<float>(x)); });
      return Status::ok();
    });
  });
}

Status unary_backward(Context&, const unary_backward_args& a) {
  return dispatch_float(a.x.dtype, [&](auto type) {
    using T = decltype(type);
    return with_function(a.kind, [&](auto function) {
      map2<T, T, T>(a.dy, a.x, a.dx, [](T dy, T x) { return static_cast<float>(dy) * decltype(function)::df(static_cast<float>(x)); });
      return Status::ok();
    });
  });
}

}  // namespace tilewise::cpu::TILEWISE_ISA
