// From a view's dtype to a type, for launchers: dispatch_float(dtype, [&](auto type) { using T = decltype(type); return launch(…); }).
#pragma once
#include "../cuda.h"

namespace tilewise::TILEWISE_GPU {

template <class Body>
Status dispatch_float(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::f32:
      return body(float{});
    case DType::bf16:
      return body(bf16{});
    case DType::f16:
      return body(f16{});
    default:
      return unsupported(std::string("arithmetic in ") + name_of(dtype));
  }
}

template <class Body>
Status dispatch_dtype(DType dtype, Body&& body) {
  if (dtype == DType::i32) return body(int32_t{});
  if (dtype == DType::u8) return body(uint8_t{});
  return dispatch_float(dtype, body);
}

}  // namespace tilewise::TILEWISE_GPU
