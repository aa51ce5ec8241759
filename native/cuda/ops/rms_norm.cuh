// RMS norm, its dropout and residual, and the gradients of all: native/cuda/prim/norm_forward.cuh, norm_backward.cuh.
#include "../prim/norm_backward.cuh"
#include "../prim/norm_forward.cuh"

namespace tilewise::TILEWISE_GPU {

Status rms_norm(Context& context, const rms_norm_args& a) {
  return run_norm_forward<false>(
      context, {a.x, a.residual, a.weight, absent_view(), a.y, a.sum, absent_view(), a.rstd, a.eps, Dropout(a.dropout, a.seed, a.counter)});
}

Status rms_norm_backward(Context& context, const rms_norm_backward_args& a) {
  return run_norm_backward<false>(context, {a.dy, a.dsum, a.sum, a.weight, absent_view(), a.rstd, a.dx, a.dresidual, a.dweight,
                                            absent_view(), Dropout(a.dropout, a.seed, a.counter)});
}

}  // namespace tilewise::TILEWISE_GPU
