// The projections to queries, keys and values: one product, whose epilogue writes each to its own tensor.
#include "../../core/qkv.h"
#include "../linear_gradient.h"

namespace tilewise::TILEWISE_GPU {

Status qkv(Context& context, const qkv_args& a) {
  HeadColumns columns;
  TILEWISE_RETURN_IF_ERROR(columns_of(a, &columns));
  GemmProblem p;
  p.dtype = a.x.dtype;
  p.m = a.x.rows(), p.n = columns.width, p.k = a.x.last();
  p.a = {a.x.data, p.k, 1};
  p.b = {a.weight.data, p.k, 1};
  GemmEpilogue& e = p.epilogue;
  if (a.bias) e.bias = a.bias.data, e.bias_f32 = a.bias.dtype == DType::f32;
  e.output_count = columns.count;
  int64_t end = 0;
  for (int i = 0; i < columns.count; ++i) e.outputs[i] = {columns.parts[i].data, columns.parts[i].ld, end += columns.parts[i].width};
  return gemm(context, p);
}

Status qkv_backward(Context& context, const qkv_backward_args& a) {
  HeadColumns columns;
  TILEWISE_RETURN_IF_ERROR(columns_of(a, &columns));
  LinearGradient l;
  l.rows = a.x.rows(), l.in = a.x.last(), l.out = a.weight.dims[0];
  l.dtype = a.x.dtype;
  l.parts = columns.count;
  for (int i = 0; i < columns.count; ++i) l.dy[i] = {columns.parts[i].data, columns.parts[i].width, columns.parts[i].ld};
  l.x = a.x.data, l.weight = a.weight.data;
  if (a.dx) l.dx = a.dx.data;
  if (a.dweight) l.dweight = a.dweight.as<float>();
  if (a.dbias) l.dbias = a.dbias.as<float>();
  return linear_gradient(context, l);
}

}  // namespace tilewise::TILEWISE_GPU
