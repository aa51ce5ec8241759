// copy: y = x with conversion. accumulate: y += x. fill: y = value.
#include "../prim/elementwise.cuh"

namespace tilewise::TILEWISE_GPU {
namespace {

// The elements of a vector, given as bits of their size, in f32 and back: dtypes of one size share a kernel. Integers convert as in C,
// through f32; u8 is a truth value: non-zero is 1.
template <class T, int N, class Bits>
__device__ __forceinline__ void widen_as(float (&out)[N], const Vec<Bits, N>& x) {
  const auto& elements = reinterpret_cast<const Vec<T, N>&>(x);
#pragma unroll
  for (int i = 0; i < N; ++i) out[i] = static_cast<float>(elements[i]);
}
template <int N, class Bits>
__device__ __forceinline__ void widen(DType dtype, float (&out)[N], const Vec<Bits, N>& x) {
  if constexpr (sizeof(Bits) == 4)
    dtype == DType::f32 ? widen_as<float>(out, x) : widen_as<int32_t>(out, x);
  else if constexpr (sizeof(Bits) == 2)
    dtype == DType::bf16 ? widen_as<bf16>(out, x) : widen_as<f16>(out, x);
  else
    widen_as<uint8_t>(out, x);
}

template <class T, int N, class Bits>
__device__ __forceinline__ void narrow_as(Vec<Bits, N>& y, const float (&values)[N]) {
  auto& elements = reinterpret_cast<Vec<T, N>&>(y);
#pragma unroll
  for (int i = 0; i < N; ++i) {
    if constexpr (std::is_same_v<T, uint8_t>)
      elements[i] = values[i] != 0.0f;
    else
      elements[i] = T(values[i]);
  }
}
template <int N, class Bits>
__device__ __forceinline__ void narrow(DType dtype, Vec<Bits, N>& y, const float (&values)[N]) {
  if constexpr (sizeof(Bits) == 4)
    dtype == DType::f32 ? narrow_as<float>(y, values) : narrow_as<int32_t>(y, values);
  else if constexpr (sizeof(Bits) == 2)
    dtype == DType::bf16 ? narrow_as<bf16>(y, values) : narrow_as<f16>(y, values);
  else
    narrow_as<uint8_t>(y, values);
}

struct Convert {
  static constexpr bool kVectors = true;
  DType from, to;
  template <int N, class X, class Y>
  __device__ __forceinline__ void operator()(Vec<Y, N>& y, const Vec<X, N>& x) const {
    if constexpr (std::is_same_v<X, Y>) {
      if (from == to) {
        y = x;
        return;
      }
    }
    float values[N];
    widen(from, values, x);
    narrow(to, y, values);
  }
};

struct Plus {
  static constexpr bool kVectors = true;
  DType from, to;
  template <int N, class X, class Y>
  __device__ __forceinline__ void operator()(Vec<Y, N>& sum, const Vec<Y, N>& y, const Vec<X, N>& x) const {
    float values[N], more[N];
    widen(to, values, y);
    widen(from, more, x);
#pragma unroll
    for (int i = 0; i < N; ++i) values[i] += more[i];
    narrow(to, sum, values);
  }
};

template <class Bits>
struct Constant {
  Bits value;
  __device__ __forceinline__ Bits operator()() const { return value; }
};

template <class T>
using BitsOf = std::conditional_t<sizeof(T) == 4, uint32_t, std::conditional_t<sizeof(T) == 2, uint16_t, uint8_t>>;

}  // namespace

Status copy(Context& context, const copy_args& a) {
  return dispatch_dtype(a.x.dtype, [&](auto from) {
    return dispatch_dtype(a.y.dtype, [&](auto to) {
      return map<BitsOf<decltype(to)>, BitsOf<decltype(from)>>(context, "copy", Convert{a.x.dtype, a.y.dtype}, a.y, a.x);
    });
  });
}

Status accumulate(Context& context, const accumulate_args& a) {
  return dispatch_float(a.x.dtype, [&](auto from) {
    return dispatch_float(a.y.dtype, [&](auto to) {
      using Y = BitsOf<decltype(to)>;
      return map<Y, Y, BitsOf<decltype(from)>>(context, "accumulate", Plus{a.x.dtype, a.y.dtype}, a.y, a.y, a.x);
    });
  });
}

Status fill(Context& context, const fill_args& a) {
  return dispatch_dtype(a.y.dtype, [&](auto type) {
    const auto value = decltype(type)(a.value);
    Constant<BitsOf<decltype(type)>> constant;
    std::memcpy(&constant.value, &value, sizeof value);
    return map<decltype(constant.value)>(context, "fill", constant, a.y);
  });
}

}  // namespace tilewise::TILEWISE_GPU
