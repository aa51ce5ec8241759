// Layer norm, its dropout and residual, and the gradients of all: native/cuda/prim/norm_forward.cuh, norm_backward.cuh.
#include "../prim/norm_backward.cuh"
#include "../prim/norm_forward.cuh"

namespace tilewise::TILEWISE_GPU {

Status layer_norm(Context& context, const layer_norm_args& a) {
  return run_norm_forward<true>(
      context, {a.x, a.residual, a.weight, a.bias, a.y, a.sum, a.mean, a.rstd, a.eps, Dropout(a.dropout, a.seed, a.counter)});
}

Status layer_norm_backward(Context& context, const layer_norm_backward_args& a) {
  return run_norm_backward<true>(context, {a.dy, a.dsum, a.sum, a.weight, a.mean, a.rstd, a.dx, a.dresidual, a.dweight, a.dbias,
                                           Dropout(a.dropout, a.seed, a.counter)});
}

}  // namespace tilewise::TILEWISE_GPU
