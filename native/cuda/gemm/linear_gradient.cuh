#include "../linear_gradient.h"

#include "../prim/column_sums.cuh"

namespace tilewise::TILEWISE_GPU {

Status linear_gradient(Context& context, const LinearGradient& l) {
  if (l.dx) {
    GemmProblem p;
    p.dtype = l.dtype;
    p.m = l.rows, p.n = l.in, p.k = l.out;
    p.a = {l.dy[0].data, l.dy[0].ld, 1};
    int64_t first = l.dy[0].width;
    for (int i = 1; i < l.parts; ++i) {
      p.segments[p.segment_count++] = {first, l.dy[i].data, l.dy[i].ld};
      first += l.dy[i].width;
    }
    p.b = {l.weight, 1, l.in};
    p.epilogue.outputs[0] = {l.dx, l.in, l.in};
    TILEWISE_RETURN_IF_ERROR(gemm(context, p));
  }
  int64_t first = 0;
  for (int i = 0; i < l.parts; first += l.dy[i++].width) {
    const LinearGradient::Part& dy = l.dy[i];
    if (l.dweight && l.rows > 0) {
      GemmProblem p;
      p.dtype = l.dtype;
      p.m = dy.width, p.n = l.in, p.k = l.rows;
      p.a = {dy.data, 1, dy.ld};
      p.b = {l.x, 1, l.in};
      p.epilogue.accumulate = true;
      p.epilogue.outputs[0] = {l.dweight + first * l.in, l.in, l.in};
      TILEWISE_RETURN_IF_ERROR(gemm(context, p));
    }
    if (l.dbias) {
      ColumnSums c;
      c.x = dy.data, c.ld = dy.ld, c.rows = l.rows, c.columns = dy.width;
      c.sums = l.dbias + first;
      TILEWISE_RETURN_IF_ERROR(add_column_sums(context, l.dtype, c));
    }
  }
  return Status::ok();
}

Status activation_gradient(Context& context, DType dtype, Activation activation, int64_t rows, int64_t columns, const void* dy,
                           const void* at, void* product, float* dbias) {
  ColumnSums c;
  c.x = dy, c.ld = columns, c.rows = rows, c.columns = columns;
  c.at = at, c.product = product, c.activation = activation;
  c.sums = dbias;
  return add_column_sums(context, dtype, c);
}

}  // namespace tilewise::TILEWISE_GPU
