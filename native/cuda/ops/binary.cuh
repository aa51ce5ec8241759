// Element-wise arithmetic and comparisons with broadcasting. kind numbers: lib/ops/binary.ts.
#include "../prim/elementwise.cuh"

namespace tilewise::TILEWISE_GPU {
namespace {

enum class Kind : int32_t { add, sub, mul, div, pow, maximum, minimum, equal, not_equal, less, less_equal, greater, greater_equal };

// What arithmetic and comparisons are done in: floats widen to f32, integers stay exact.
template <class T>
using Wide = std::conditional_t<std::is_same_v<T, int32_t> || std::is_same_v<T, uint8_t>, int32_t, float>;

// NaN wins in maximum and minimum, as in PyTorch. Integers wrap around.
template <Kind kind, class T>
__device__ __forceinline__ T arithmetic(T x, T y) {
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

template <Kind kind, class T>
__device__ __forceinline__ uint8_t comparison(T x, T y) {
  const auto a = static_cast<Wide<T>>(x), b = static_cast<Wide<T>>(y);
  if constexpr (kind == Kind::equal) return a == b;
  if constexpr (kind == Kind::not_equal) return a != b;
  if constexpr (kind == Kind::less) return a < b;
  if constexpr (kind == Kind::less_equal) return a <= b;
  if constexpr (kind == Kind::greater) return a > b;
  if constexpr (kind == Kind::greater_equal) return a >= b;
}

// Kinds share a kernel a dtype: a branch for a vector costs nothing beside its memory, and a kernel for each takes long to compile.
template <class T>
struct Arithmetic {
  static constexpr bool kVectors = true;
  Kind kind;
  template <int N>
  __device__ __forceinline__ void operator()(Vec<T, N>& y, const Vec<T, N>& a, const Vec<T, N>& b) const {
    if constexpr (std::is_same_v<Wide<T>, float>) {
      if (kind == Kind::div) return each<Kind::div>(y, a, b);
      if (kind == Kind::pow) return each<Kind::pow>(y, a, b);
    }
    if (kind == Kind::add) return each<Kind::add>(y, a, b);
    if (kind == Kind::sub) return each<Kind::sub>(y, a, b);
    if (kind == Kind::mul) return each<Kind::mul>(y, a, b);
    if (kind == Kind::maximum) return each<Kind::maximum>(y, a, b);
    each<Kind::minimum>(y, a, b);
  }
  template <Kind kind, int N>
  static __device__ __forceinline__ void each(Vec<T, N>& y, const Vec<T, N>& a, const Vec<T, N>& b) {
#pragma unroll
    for (int i = 0; i < N; ++i) y[i] = arithmetic<kind>(a[i], b[i]);
  }
};

template <class T>
struct Comparison {
  static constexpr bool kVectors = true;
  Kind kind;
  template <int N>
  __device__ __forceinline__ void operator()(Vec<uint8_t, N>& y, const Vec<T, N>& a, const Vec<T, N>& b) const {
    if (kind == Kind::equal) return each<Kind::equal>(y, a, b);
    if (kind == Kind::not_equal) return each<Kind::not_equal>(y, a, b);
    if (kind == Kind::less) return each<Kind::less>(y, a, b);
    if (kind == Kind::less_equal) return each<Kind::less_equal>(y, a, b);
    if (kind == Kind::greater) return each<Kind::greater>(y, a, b);
    each<Kind::greater_equal>(y, a, b);
  }
  template <Kind kind, int N>
  static __device__ __forceinline__ void each(Vec<uint8_t, N>& y, const Vec<T, N>& a, const Vec<T, N>& b) {
#pragma unroll
    for (int i = 0; i < N; ++i) y[i] = comparison<kind>(a[i], b[i]);
  }
};

struct Affine {
  float scale, shift;
  template <class T>
  __device__ __forceinline__ T operator()(T x) const {
    return T(scale * static_cast<float>(x) + shift);
  }
};

}  // namespace

Status binary(Context& context, const binary_args& a) {
  const auto kind = static_cast<Kind>(a.kind);
  if (kind < Kind::add || kind > Kind::greater_equal) return Status::error(Code::invalid_argument, "binary kind " + std::to_string(a.kind));
  return dispatch_dtype(a.a.dtype, [&](auto type) {
    using T = decltype(type);
    if (kind >= Kind::equal) return map<uint8_t, T, T>(context, "compare", Comparison<T>{kind}, a.y, a.a, a.b);
    if (std::is_same_v<Wide<T>, int32_t> && (kind == Kind::div || kind == Kind::pow)) return unsupported("div or pow of integers");
    return map<T, T, T>(context, "binary", Arithmetic<T>{kind}, a.y, a.a, a.b);
  });
}

Status affine(Context& context, const affine_args& a) {
  return dispatch_float(a.x.dtype, [&](auto type) {
    using T = decltype(type);
    return map<T, T>(context, "affine", Affine{a.scale, a.shift}, a.y, a.x);
  });
}

}  // namespace tilewise::TILEWISE_GPU
