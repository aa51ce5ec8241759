// Element-wise arithmetic and comparisons with broadcasting. kind numbers: lib/ops/binary.ts.
#include <cmath>

#include "../elementwise.h"

namespace tilewise::cpu::TILEWISE_ISA {
namespace {

enum class Kind : int32_t { add, sub, mul, div, pow, maximum, minimum, equal, not_equal, less, less_equal, greater, greater_equal };

// body(f) with f(float, float) -> float; NaN wins in maximum and minimum, as in PyTorch.
template <class Body>
Status with_arithmetic(Kind kind, Body&& body) {
  switch (kind) {
    case Kind::add:
      return body([](float a, float b) { return a + b; });
    case Kind::sub:
      return body([](float a, float b) { return a - b; });
    case Kind::mul:
      return body([](float a, float b) { return a * b; });
    case Kind::div:
      return body([](float a, float b) { return a / b; });
    case Kind::pow:
      return body([](float a, float b) { return std::pow(a, b); });
    case Kind::maximum:
      return body([](float a, float b) { return a != a || a > b ? a : b; });
    case Kind::minimum:
      return body([](float a, float b) { return a != a || a < b ? a : b; });
    default:
      return Status::error(Code::invalid_argument, "binary kind " + std::to_string(static_cast<int>(kind)));
  }
}

template <class Body>
Status with_comparison(Kind kind, Body&& body) {
  switch (kind) {
    case Kind::equal:
      return body([](auto a, auto b) { return a == b; });
    case Kind::not_equal:
      return body([](auto a, auto b) { return a != b; });
    case Kind::less:
      return body([](auto a, auto b) { return a < b; });
    case Kind::less_equal:
      return body([](auto a, auto b) { return a <= b; });
    case Kind::greater:
      return body([](auto a, auto b) { return a > b; });
    default:
      return body([](auto a, auto b) { return a >= b; });
  }
}

// What comparisons and integer arithmetic are done in: floats widen to f32, integers stay exact.
template <class T>
using Wide = std::conditional_t<std::is_same_v<T, int32_t> || std::is_same_v<T, uint8_t>, int32_t, float>;

template <class T>
Status integers(const binary_args& a, Kind kind) {
  auto run = [&](auto f) {
    map2<T, T, T>(a.a, a.b, a.y, [f](T x, T y) { return static_cast<T>(f(x, y)); });
    return Status::ok();
  };
  switch (kind) {
    case Kind::add:
      return run([](int32_t x, int32_t y) { return static_cast<uint32_t>(x) + static_cast<uint32_t>(y); });
    case Kind::sub:
      return run([](int32_t x, int32_t y) { return static_cast<uint32_t>(x) - static_cast<uint32_t>(y); });
    case Kind::mul:
      return run([](int32_t x, int32_t y) { return static_cast<uint32_t>(x) * static_cast<uint32_t>(y); });
    case Kind::maximum:
      return run([](int32_t x, int32_t y) { return x > y ? x : y; });
    case Kind::minimum:
      return run([](int32_t x, int32_t y) { return x < y ? x : y; });
    default:
      return unsupported("div or pow of integers");
  }
}

}  // namespace

Status binary(Context&, const binary_args& a) {
  const auto kind = static_cast<Kind>(a.kind);
  return dispatch_dtype(a.a.dtype, [&](auto type) -> Status {
    using T = decltype(type);
    if (kind >= Kind::equal) {
      return with_comparison(kind, [&](auto f) {
        map2<T, T, uint8_t>(a.a, a.b, a.y, [f](T x, T y) { return f(static_cast<Wide<T>>(x), static_cast<Wide<T>>(y)); });
        return Status::ok();
      });
    }
    if constexpr (std::is_same_v<Wide<T>, int32_t>) {
      return integers<T>(a, kind);
    } else {
      return with_arithmetic(kind, [&](auto f) {
        map2<T, T, T>(a.a, a.b, a.y, [f](T x, T y) { return f(static_cast<float>(x), static_cast<float>(y)); });
        return Status::ok();
      });
    }
  });
}

Status affine(Context&, const affine_args& a) {
  return dispatch_float(a.x.dtype, [&](auto type) {
    using T = decltype(type);
    const float scale = a.scale, shift = a.shift;
    map1<T, T>(a.x, a.y, [scale, shift](T x) { return scale * static_cast<float>(x) + shift; });
    return Status::ok();
  });
}

}  // namespace tilewise::cpu::TILEWISE_ISA
