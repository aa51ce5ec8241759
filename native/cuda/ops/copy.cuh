// copy: y = x with conversion. accumulate: y += x. fill: y = value.
#include "../prim/elementwise.cuh"

namespace tilewise::TILEWISE_GPU {
namespace {

// Integers convert as in C, through f32; u8 is a truth value: non-zero is 1.
template <class X, class Y>
struct Convert {
  __device__ __forceinline__ Y operator()(X x) const {
    if constexpr (std::is_same_v<X, Y>)
      return x;
    else if constexpr (std::is_same_v<Y, uint8_t>)
      return static_cast<uint8_t>(static_cast<float>(x) != 0.0f);
    else if constexpr (std::is_same_v<Y, int32_t>)
      return static_cast<int32_t>(static_cast<float>(x));
    else
      return Y(static_cast<float>(x));
  }
};

template <class X, class Y>
struct Plus {
  __device__ __forceinline__ Y operator()(Y y, X x) const { return Y(static_cast<float>(y) + static_cast<float>(x)); }
};

template <class Y>
struct Constant {
  Y value;
  __device__ __forceinline__ Y operator()() const { return value; }
};

}  // namespace

Status copy(Context& context, const copy_args& a) {
  return dispatch_dtype(a.x.dtype, [&](auto from) {
    return dispatch_dtype(a.y.dtype, [&](auto to) {
      using X = decltype(from);
      using Y = decltype(to);
      return map<Y, X>(context, "copy", Convert<X, Y>{}, a.y, a.x);
    });
  });
}

Status accumulate(Context& context, const accumulate_args& a) {
  return dispatch_float(a.x.dtype, [&](auto from) {
    return dispatch_float(a.y.dtype, [&](auto to) {
      using X = decltype(from);
      using Y = decltype(to);
      return map<Y, Y, X>(context, "accumulate", Plus<X, Y>{}, a.y, a.y, a.x);
    });
  });
}

Status fill(Context& context, const fill_args& a) {
  return dispatch_dtype(a.y.dtype, [&](auto type) {
    using Y = decltype(type);
    return map<Y>(context, "fill", Constant<Y>{Y(a.value)}, a.y);
  });
}

}  // namespace tilewise::TILEWISE_GPU
