// RMS norm, its dropout and residual, and the gradients of all: native/cpu/norm.h.
#include "../norm.h"

namespace tilewise::cpu::TILEWISE_ISA {

Status rms_norm(Context& context, const rms_norm_args& a) {
  return dispatch_float(a.x.dtype, [&](auto type) {
    return norm_forward<false, decltype(type)>(
        context, {a.x, a.residual, a.weight, absent_view(), a.y, a.sum, absent_view(), a.rstd, a.eps, {a.dropout, a.seed, a.counter}});
  });
}

Status rms_norm_backward(Context& context, const rms_norm_backward_args& a) {
  return dispatch_float(a.sum.dtype, [&](auto type) {
    return norm_backward<false, decltype(type)>(context, {a.dy,
                                                          a.dsum,
                                                          a.sum,
                                                          a.weight,
                                                          absent_view(),
                                                          a.rstd,
                                                          a.dx,
                                                          a.dresidual,
                                                          a.dweight,
                                                          absent_view(),
                                                          {a.dropout, a.seed, a.counter}});
  });
}

}  // namespace tilewise::cpu::TILEWISE_ISA
