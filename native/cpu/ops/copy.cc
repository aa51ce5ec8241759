// copy: y = x with conversion. accumulate: y += x. fill: y = value.
#include "../elementwise.h"

namespace tilewise::cpu::TILEWISE_ISA {

Status copy(Context&, const copy_args& a) {
  return dispatch_dtype(a.x.dtype, [&](auto from) {
    return dispatch_dtype(a.y.dtype, [&](auto to) {
      using X = decltype(from);
      using Y = decltype(to);
      if constexpr (std::is_same_v<X, Y>) {
        map1<X, Y>(a.x, a.y, [](X value) { return value; });
      } else if constexpr (std::is_same_v<X, int32_t> || std::is_same_v<Y, int32_t> || std::is_same_v<X, uint8_t> ||
                           std::is_same_v<Y, uint8_t>) {
        // Integers convert as in C; a float out of range is clamped by the hardware's rule. u8 is a truth value: non-zero is 1.
        if constexpr (std::is_same_v<Y, uint8_t>)
          map1<X, Y>(a.x, a.y, [](X value) { return static_cast<uint8_t>(static_cast<float>(value) != 0.0f); });
        else if constexpr (std::is_same_v<Y, int32_t>)
          map1<X, Y>(a.x, a.y, [](X value) { return static_cast<int32_t>(static_cast<float>(value)); });
        else
          map1<X, Y>(a.x, a.y, [](X value) { return static_cast<float>(value); });
      } else {
        map1<X, Y>(a.x, a.y, [](X value) { return static_cast<float>(value); });
      }
      return Status::ok();
    });
  });
}

Status accumulate(Context&, const accumulate_args& a) {
  return dispatch_float(a.x.dtype, [&](auto from) {
    return dispatch_float(a.y.dtype, [&](auto to) {
      using X = decltype(from);
      using Y = decltype(to);
      map2<X, Y, Y>(a.x, a.y, a.y, [](X x, Y y) { return static_cast<float>(y) + static_cast<float>(x); });
      return Status::ok();
    });
  });
}

Status fill(Context&, const fill_args& a) {
  return dispatch_dtype(a.y.dtype, [&](auto type) {
    using Y = decltype(type);
    const Y value = Y(a.value);
    map1<Y, Y>(a.y, a.y, [value](Y) { return value; });
    return Status::ok();
  });
}

}  // namespace tilewise::cpu::TILEWISE_ISA
