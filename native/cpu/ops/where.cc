// y = condition ? a : b, all broadcast. Elements are moved as bits: only their size matters.
#include "../elementwise.h"

namespace tilewise::cpu::TILEWISE_ISA {
namespace {

template <class T>
Status select(const where_args& a) {
  const Loop<4> loop(a.y, {&a.condition, &a.a, &a.b, &a.y});
  int64_t step[4];
  for (int k = 0; k < 4; ++k) step[k] = loop.strides[k][loop.rank - 1];
  loop.each([&](const int64_t* offsets, int64_t n) {
    const uint8_t* condition = a.condition.as<uint8_t>() + offsets[0];
    const T* left = a.a.as<T>() + offsets[1];
    const T* right = a.b.as<T>() + offsets[2];
    T* out = a.y.as<T>() + offsets[3];
    if (step[0] == 1 && step[1] == 1 && step[2] == 1 && step[3] == 1) {
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) out[i] = condition[i] ? left[i] : right[i];
    } else if (step[0] == 1 && step[1] == 1 && step[2] == 0 && step[3] == 1) {
      const T other = *right;
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) out[i] = condition[i] ? left[i] : other;
    } else {
      for (int64_t i = 0; i < n; ++i) out[i * step[3]] = condition[i * step[0]] ? left[i * step[1]] : right[i * step[2]];
    }
  });
  return Status::ok();
}

}  // namespace

Status where(Context&, const where_args& a) {
  const size_t size = size_of(a.y.dtype);
  return size == 4 ? select<uint32_t>(a) : size == 2 ? select<uint16_t>(a) : select<uint8_t>(a);
}

}  // namespace tilewise::cpu::TILEWISE_ISA
