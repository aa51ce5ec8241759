// The projections to queries, keys and values. Slices of one packed buffer that lie side by side are one product.
#include <cstring>

#include "../linear_gradient.h"

namespace tilewise::cpu::TILEWISE_ISA {
namespace {

// A tensor [..., H, D] as a matrix [rows, H * D].
struct Part {
  char* data = nullptr;
  int64_t width = 0;
  int64_t ld = 0;
};

struct Parts {
  Part items[3];
  int count = 0;
  int64_t rows = 0, width = 0;
  size_t element = 0;

  // Fails where the steps between rows differ or a row is not contiguous.
  Status add(const char* name, const View& view) {
    if (!view) return Status::ok();
    const int r = view.rank;
    Part& part = items[count++];
    element = size_of(view.dtype);
    part.data = view.as<char>();
    part.width = view.dims[r - 2] * view.dims[r - 1];
    bool regular =
        (view.dims[r - 1] <= 1 || view.strides[r - 1] == 1) && (view.dims[r - 2] <= 1 || view.strides[r - 2] == view.dims[r - 1]);
    int64_t next = -1;
    rows = 1;
    for (int i = r - 3; i >= 0; --i) {
      rows *= view.dims[i];
      if (view.dims[i] == 1) continue;
      if (next < 0)
        part.ld = next = view.strides[i];
      else
        regular = regular && view.strides[i] == next;
      next *= view.dims[i];
    }
    if (next < 0) part.ld = part.width;  // a single row
    if (rows > 0 && part.width > 0 && (!regular || part.ld < part.width))
      return Status::error(Code::invalid_argument, std::string(name) + " must have contiguous [heads, head size] rows at equal steps");
    width += part.width;
    return Status::ok();
  }

  // Whether part i + 1 continues the rows of part i.
  bool adjacent(int i) const {
    return items[i + 1].data == items[i].data + items[i].width * static_cast<int64_t>(element) &&
           (rows <= 1 || items[i + 1].ld == items[i].ld);
  }
};

}  // namespace

Status qkv(Context&, const qkv_args& a) {
  Parts parts;
  TILEWISE_RETURN_IF_ERROR(parts.add("q", a.q));
  TILEWISE_RETURN_IF_ERROR(parts.add("k", a.k));
  TILEWISE_RETURN_IF_ERROR(parts.add("v", a.v));
  Gemm g;
  g.m = a.x.rows(), g.k = a.x.last();
  g.transpose_b = true;
  g.lda = g.ldb = g.k;
  g.dtype_a = g.dtype_b = g.dtype_c = a.x.dtype;
  Epilogue e;
  const char* weight = a.weight.as<char>();
  const char* bias = a.bias ? a.bias.as<char>() : nullptr;
  if (a.bias) e.bias_dtype = a.bias.dtype;
  for (int i = 0; i < parts.count;) {
    const int first = i;
    g.n = parts.items[i].width;
    while (i + 1 < parts.count && parts.adjacent(i)) g.n += parts.items[++i].width;
    ++i;
    g.ldc = g.m > 1 ? parts.items[first].ld : g.n;
    e.bias = bias;
    TILEWISE_RETURN_IF_ERROR(gemm(g, a.x.data, weight, parts.items[first].data, e));
    weight += g.n * g.k * static_cast<int64_t>(size_of(g.dtype_b));
    if (bias) bias += g.n * static_cast<int64_t>(size_of(e.bias_dtype));
  }
  return Status::ok();
}

Status qkv_backward(Context& context, const qkv_backward_args& a) {
  Parts parts;
  TILEWISE_RETURN_IF_ERROR(parts.add("dq", a.dq));
  TILEWISE_RETURN_IF_ERROR(parts.add("dk", a.dk));
  TILEWISE_RETURN_IF_ERROR(parts.add("dv", a.dv));
  LinearShape s;
  s.rows = a.x.rows(), s.in = a.x.last(), s.out = a.weight.dims[0];
  s.dtype = a.x.dtype;
  if (parts.count == 0 || parts.width != s.out)
    return Status::error(Code::invalid_argument, "dq, dk and dv must have " + std::to_string(s.out) +
                                                     " columns together as weight has rows, have " + std::to_string(parts.width));
  void* dy = parts.items[0].data;
  s.ld_dy = s.rows > 1 ? parts.items[0].ld : s.out;
  bool packed = true;
  for (int i = 0; i + 1 < parts.count; ++i) packed = packed && parts.adjacent(i);
  if (!packed) {
    s.ld_dy = s.out;
    TILEWISE_RETURN_IF_ERROR(context.scratch(static_cast<size_t>(s.rows * s.out) * parts.element, &dy));
    parallel_for(s.rows, std::max<int64_t>(1, 16384 / std::max<int64_t>(1, s.out)), [&](int64_t begin, int64_t end) {
      const auto element = static_cast<int64_t>(parts.element);
      for (int64_t row = begin; row < end; ++row) {
        char* to = static_cast<char*>(dy) + row * s.out * element;
        for (int i = 0; i < parts.count; ++i) {
          const Part& part = parts.items[i];
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
