// y = condition ? a : b, all broadcast. Elements are moved as bits: only their size matters.
#include "../prim/elementwise.cuh"

namespace tilewise::TILEWISE_GPU {
namespace {

struct Select {
  template <class T>
  __device__ __forceinline__ T operator()(uint8_t condition, T a, T b) const {
    return condition ? a : b;
  }
};

template <class T>
Status run(Context& context, const where_args& a) {
  return map<T, uint8_t, T, T>(context, "where", Select{}, a.y, a.condition, a.a, a.b);
}

}  // namespace

Status where(Context& context, const where_args& a) {
  const size_t size = size_of(a.y.dtype);
  return size == 4 ? run<uint32_t>(context, a) : size == 2 ? run<uint16_t>(context, a) : run<uint8_t>(context, a);
}

}  // namespace tilewise::TILEWISE_GPU
