// Layer norm, its dropout and residual, and the gradients of all: native/cpu/norm.h.
#include "../norm.h"

namespace tilewise::cpu::TILEWISE_ISA {

Status layer_norm(Context& context, const layer_norm_args& a) {
  return dispatch_float(a.x.dtype, [&](auto type) {
    return norm_forward<true, decltype(type)>(
        context, {a.x, a.residual, a.weight, a.bias, a.y, a.sum, a.mean, a.rstd, a.eps, {a.dropout, a.seed, a.counter}});
  });
}

Status layer_norm_backward(Context& context, const layer_norm_backward_args& a) {
  return dispatch_float(a.sum.dtype, [&](auto type) {
    return norm_backward<true, decltype(type)>(
        context, {a.dy, a.dsum, a.sum, a.weight, a.mean, a.rstd, a.dx, a.dresidual, a.dweight, a.dbias, {a.dropout, a.seed, a.counter}});
  });
}

}  // namespace tilewise::cpu::TILEWISE_ISA
