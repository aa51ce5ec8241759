// The projections to queries, keys and values: one product, whose epilogue writes each to its own tensor.
#include "../linear_gradient.h"

namespace tilewise::TILEWISE_GPU {
namespace {

// A tensor [..., H, D] as a matrix [rows, H * D].
struct Part {
  void* data = nullptr;
  int64_t width = 0, ld = 0;
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
    Part part;
    element = size_of(view.dtype);
    part.data = view.data;
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
    // What continues the rows of the part before is one with it.
    if (count > 0) {
      Part& last = items[count - 1];
      const bool follows = part.data == static_cast<char*>(last.data) + last.width * static_cast<int64_t>(element);
      if (follows && (rows <= 1 || part.ld == last.ld)) {
        last.width += part.width;
        return Status::ok();
      }
    }
    items[count++] = part;
    return Status::ok();
  }
};

}  // namespace

Status qkv(Context& context, const qkv_args& a) {
  Parts parts;
  TILEWISE_RETURN_IF_ERROR(parts.add("q", a.q));
  TILEWISE_RETURN_IF_ERROR(parts.add("k", a.k));
  TILEWISE_RETURN_IF_ERROR(parts.add("v", a.v));
  GemmProblem p;
  p.dtype = a.x.dtype;
  p.m = a.x.rows(), p.n = parts.width, p.k = a.x.last();
  p.a = {a.x.data, p.k, 1};
  p.b = {a.weight.data, p.k, 1};
  GemmEpilogue& e = p.epilogue;
  if (a.bias) e.bias = a.bias.data, e.bias_f32 = a.bias.dtype == DType::f32;
  e.output_count = parts.count;
  int64_t end = 0;
  for (int i = 0; i < parts.count; ++i) e.outputs[i] = {parts.items[i].data, parts.items[i].ld, end += parts.items[i].width};
  return gemm(context, p);
}

Status qkv_backward(Context& context, const qkv_backward_args& a) {
  Parts parts;
  TILEWISE_RETURN_IF_ERROR(parts.add("dq", a.dq));
  TILEWISE_RETURN_IF_ERROR(parts.add("dk", a.dk));
  TILEWISE_RETURN_IF_ERROR(parts.add("dv", a.dv));
  LinearGradient l;
  l.rows = a.x.rows(), l.in = a.x.last(), l.out = a.weight.dims[0];
  l.dtype = a.x.dtype;
  if (parts.count == 0 || parts.width != l.out)
    return Status::error(Code::invalid_argument, "dq, dk and dv must have " + std::to_string(l.out) +
                                                     " columns together as weight has rows, have " + std::to_string(parts.width));
  l.parts = parts.count;
  for (int i = 0; i < parts.count; ++i) l.dy[i] = {parts.items[i].data, parts.items[i].width, parts.items[i].ld};
  l.x = a.x.data, l.weight = a.weight.data;
  if (a.dx) l.dx = a.dx.data;
  if (a.dweight) l.dweight = a.dweight.as<float>();
  if (a.dbias) l.dbias = a.dbias.as<float>();
  return linear_gradient(context, l);
}

}  // namespace tilewise::TILEWISE_GPU
