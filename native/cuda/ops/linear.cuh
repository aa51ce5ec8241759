// y = activation(x W^T + b) + residual.
#include "../linear_gradient.h"

namespace tilewise::TILEWISE_GPU {

Status linear(Context& context, const linear_args& a) {
  GemmProblem p;
  p.dtype = a.x.dtype;
  p.m = a.x.rows(), p.n = a.weight.dims[0], p.k = a.x.last();
  p.a = {a.x.data, p.k, 1};
  p.b = {a.weight.data, p.k, 1};
  GemmEpilogue& e = p.epilogue;
  e.activation = static_cast<Activation>(a.activation);
  if (a.bias) e.bias = a.bias.data, e.bias_f32 = a.bias.dtype == DType::f32;
  if (a.preactivation && a.preactivation.data != a.y.data) e.preactivation = {a.preactivation.data, p.n};
  if (a.residual) e.residual = {a.residual.data, p.n};
  e.outputs[0] = {a.y.data, p.n, p.n};
  return gemm(context, p);
}

Status linear_backward(Context& context, const linear_backward_args& a) {
  LinearGradient l;
  l.rows = a.x.rows(), l.in = a.x.last(), l.out = a.weight.dims[0];
  l.dtype = a.x.dtype;
  l.x = a.x.data, l.weight = a.weight.data;
  if (a.dx) l.dx = a.dx.data;
  if (a.dweight) l.dweight = a.dweight.as<float>();
  if (a.dbias) l.dbias = a.dbias.as<float>();
  l.dy[0] = {a.dy.data, l.out, l.out};
  const auto activation = static_cast<Activation>(a.activation);
  if (activation != Activation::none) {
    if (!a.preactivation) return Status::error(Code::invalid_argument, "preactivation must be given where there is an activation");
    void* product = nullptr;  // the gradient of x W^T + b
    TILEWISE_RETURN_IF_ERROR(context.scratch(static_cast<size_t>(a.dy.count()) * size_of(l.dtype), &product));
    TILEWISE_RETURN_IF_ERROR(
        activation_gradient(context, l.dtype, activation, l.rows, l.out, a.dy.data, a.preactivation.data, product, l.dbias));
    l.dy[0].data = product;
    l.dbias = nullptr;
  }
  return linear_gradient(context, l);
}

}  // namespace tilewise::TILEWISE_GPU
