// y = activation(x W^T + b) + residual.
#include "../linear_gradient.h"

namespace tilewise::cpu::TILEWISE_ISA {

Status linear(Context&, const linear_args& a) {
  Gemm g;
  g.m = a.x.rows(), g.n = a.weight.dims[0], g.k = a.x.last();
  g.transpose_b = true;
  g.lda = g.ldb = g.k;
  g.ldc = g.n;
  g.dtype_a = a.x.dtype, g.dtype_b = a.weight.dtype, g.dtype_c = a.y.dtype;
  Epilogue e;
  e.activation = static_cast<Activation>(a.activation);
  if (a.bias) {
    e.bias = a.bias.data;
    e.bias_dtype = a.bias.dtype;
  }
  if (a.preactivation && a.preactivation.data != a.y.data) e.pre_activation = {a.preactivation.data, a.preactivation.dtype, g.n};
  if (a.residual) e.residual = {a.residual.data, a.residual.dtype, g.n};
  return gemm(g, a.x.data, a.weight.data, a.y.data, e);
}

Status linear_backward(Context& context, const linear_backward_args& a) {
  const void* dy = a.dy.data;
  const auto activation = static_cast<Activation>(a.activation);
  if (activation != Activation::none) {
    if (!a.preactivation) return Status::error(Code::invalid_argument, "preactivation must be given where there is an activation");
    View product = a.dy;  // the gradient of x W^T + b
    TILEWISE_RETURN_IF_ERROR(context.scratch(static_cast<size_t>(a.dy.count()) * size_of(a.dy.dtype), &product.data));
    TILEWISE_RETURN_IF_ERROR(dispatch_float(a.dy.dtype, [&](auto type) {
      using T = decltype(type);
      dispatch_activation(activation, [&](auto act) {
        map2<T, T, T>(a.dy, a.preactivation, product,
                      [](T dy, T at) { return static_cast<float>(dy) * decltype(act)::df(static_cast<float>(at)); });
      });
      return Status::ok();
    }));
    dy = product.data;
  }
  LinearShape s;
  s.rows = a.x.rows(), s.in = a.x.last(), s.out = s.ld_dy = a.weight.dims[0];
  s.dtype = a.x.dtype;
  return linear_gradient(context, s, dy, a.x.data, a.weight.data, a.dx ? a.dx.data : nullptr, a.dweight ? a.dweight.as<float>() : nullptr,
                         a.dbias ? a.dbias.as<float>() : nullptr);
}

}  // namespace tilewise::cpu::TILEWISE_ISA
