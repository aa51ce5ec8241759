// The projections to queries, keys and values. Slices of one packed buffer that lie side by side are one product.
#include <cstring>

#include "../../core/qkv.h"
#include "../linear_gradient.h"

namespace tilewise::cpu::TILEWISE_ISA {

Status qkv(Context&, const qkv_args& a) {
  HeadColumns columns;
  TILEWISE_RETURN_IF_ERROR(columns_of(a, &columns));
  Gemm g;
  g.m = a.x.rows(), g.k = a.x.last();
  g.transpose_b = true;
  g.lda = g.ldb = g.k;
  g.dtype_a = g.dtype_b = g.dtype_c = a.x.dtype;
  Epilogue e;
  const char* weight = a.weight.as<char>();
  const char* bias = a.bias ? a.bias.as<char>() : nullptr;
  if (a.bias) e.bias_dtype = a.bias.dtype;
  for (int i = 0; i < columns.count; ++i) {
    const HeadColumns::Part& part = columns.parts[i];
    g.n = part.width;
    g.ldc = g.m > 1 ? part.ld : g.n;
    e.bias = bias;
    TILEWISE_RETURN_IF_ERROR(gemm(g, a.x.data, weight, part.data, e));
    weight += g.n * g.k * static_cast<int64_t>(size_of(g.dtype_b));
    if (bias) bias += g.n * static_cast<int64_t>(size_of(e.bias_dtype));
  }
  return Status::ok();
}

Status qkv_backward(Context& context, const qkv_backward_args& a) {
  HeadColumns columns;
  TILEWISE_RETURN_IF_ERROR(columns_of(a, &columns));
  LinearShape s;
  s.rows = a.x.rows(), s.in = a.x.last(), s.out = a.weight.dims[0];
  s.dtype = a.x.dtype;
  void* dy = columns.parts[0].data;
  s.ld_dy = s.rows > 1 ? columns.parts[0].ld : s.out;
  if (columns.count > 1) {
    s.ld_dy = s.out;
    TILEWISE_RETURN_IF_ERROR(context.scratch(static_cast<size_t>(s.rows * s.out) * columns.element, &dy));
    parallel_for(s.rows, std::max<int64_t>(1, 16384 / std::max<int64_t>(1, s.out)), [&](int64_t begin, int64_t end) {
      const auto element = static_cast<int64_t>(columns.element);
      for (int64_t row = begin; row < end; ++row) {
        char* to = static_cast<char*>(dy) + row * s.out * element;
        for (int i = 0; i < columns.count; ++i) {
          const HeadColumns::Part& part = columns.parts[i];
          std::memcpy(to, part.data + row * part.ld * element, static_cast<size_t>(part.width * element));
          to += part.width * element;
        }
      }
    });
  }
  return linear_gradient(context, s, dy, a.x.data, a.weight.data, a.dx ? a.dx.data : nullptr, a.dweight ? a.dweight.as<float>() : nullptr,
                         a.dbias ? a.dbias.as<float>() : nullptr);
}

}  // namespace tilewise::cpu::TILEWISE_ISA
