// Element-wise arithmetic and comparisons with broadcasting. kind numbers: lib/ops/binary.ts.
#include "../prim/elementwise.cuh"

namespace tilewise::TILEWISE_GPU {
namespace {

enum class Kind : int32_t { add, sub, mul, div, pow, maximum, minimum, equal, not_equal, less, less_equal, greater, greater_equal };

// What arithmetic and comparisons are done in: floats widen to f32, integers stay exact.
template <class T>
using Wide = std::conditional_t<std::is_same_v<T, int32_t> || std::is_same_v<T, uint8_t>, int32_t, float>;

// NaN wins in maximum and minimum, as in PyTorch. Integers wrap around.
template <class T, Kind kind>
struct Arithmetic {
  __device__ __forceinline__ T operator()(T x, T y) const {
    const auto a = static_cast<Wide<T>>(x), b = static_cast<Wide<T>>(y);
    if constexpr (std::is_same_v<Wide<T>, int32_t>) {
      const auto ua = static_cast<uint32_t>(a), ub = static_cast<uint32_t>(b);
      if constexpr (kind == Kind::add) return static_cast<T>(ua + ub);
      if constexpr (kind == Kind::sub) return static_cast<T>(ua - ub);
      if constexpr (kind == Kind::mul) return static_cast<T>(ua * ub);
      if constexpr (kind == Kind::maximum) return static_cast<T>(a > b ? a : b);
      if constexpr (kind == Kind::minimum) return static_cast<T>(a < b ? a : b);
    } else {
      if constexpr (kind == Kind::add) return T(a + b);
      if constexpr (kind == Kind::sub) return T(a - b);
      if constexpr (kind == Kind::mul) return T(a * b);
      if constexpr (kind == Kind::div) return T(a / b);
      if constexpr (kind == Kind::pow) return T(powf(a, b));
      if constexpr (kind == Kind::maximum) return T(a != a || a > b ? a : b);
      if constexpr (kind == Kind::minimum) return T(a != a || a < b ? a : b);
    }
  }
};

template <class T, Kind kind>
struct Comparison {
  __device__ __forceinline__ uint8_t operator()(T x, T y) const {
    const auto a = static_cast<Wide<T>>(x), b = static_cast<Wide<T>>(y);
    if constexpr (kind == Kind::equal) return a == b;
    if constexpr (kind == Kind::not_equal) return a != b;
    if constexpr (kind == Kind::less) return a < b;
    if constexpr (kind == Kind::less_equal) return a <= b;
    if constexpr (kind == Kind::greater) return a > b;
    if constexpr (kind == Kind::greater_equal) return a >= b;
  }
};

struct Affine {
  float scale, shift;
  template <class T>
  __device__ __forceinline__ T operator()(T x) const {
    return T(scale * static_cast<float>(x) + shift);
  }
};

template <class T, Kind kind>
Status run(Context& context, const binary_args& a) {
  if constexpr (kind >= Kind::equal)
    return map<uint8_t, T, T>(context, "compare", Comparison<T, kind>{}, a.y, a.a, a.b);
  else if constexpr (std::is_same_v<Wide<T>, int32_t> && (kind == Kind::div || kind == Kind::pow))
    return unsupported("div or pow of integers");
  else
    return map<T, T, T>(context, "binary", Arithmetic<T, kind>{}, a.y, a.a, a.b);
}

template <class T>
Status dispatch_kind(Context& context, const binary_args& a) {
  switch (static_cast<Kind>(a.kind)) {
#define KIND(kind) \
  case Kind::kind: \
    return run<T, Kind::kind>(context, a);
    KIND(add)
    KIND(sub)
    KIND(mul)
    KIND(div)
    KIND(pow)
    KIND(maximum)
    KIND(minimum)
    KIND(equal)
    KIND(not_equal)
    KIND(less)
    KIND(less_equal)
    KIND(greater)
    KIND(greater_equal)
#undef KIND
  }
  return Status::error(Code::invalid_argument, "binary kind " + std::to_string(a.kind));
}

}  // namespace

Status binary(Context& context, const binary_args& a) {
  return dispatch_dtype(a.a.dtype, [&](auto type) { return dispatch_kind<decltype(type)>(context, a); });
}

Status affine(Context& context, const affine_args& a) {
  return dispatch_float(a.x.dtype, [&](auto type) {
    using T = decltype(type);
    return map<T, T>(context, "affine", Affine{a.scale, a.shift}, a.y, a.x);
  });
}

}  // namespace tilewise::TILEWISE_GPU
