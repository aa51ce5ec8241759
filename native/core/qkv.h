// The arguments of qkv and qkv_backward, as every device takes them apart.
#pragma once
#include <string>

#include "ops.h"
#include "status.h"

namespace tilewise {

// Queries, keys and values, or their gradients: tensors [..., heads, head size] as the columns of one matrix.
struct HeadColumns {
  // Neighbouring columns: rows `ld` elements apart.
  struct Part {
    char* data = nullptr;
    int64_t width = 0, ld = 0;
  };
  Part parts[3];
  int count = 0;
  int64_t width = 0;  // of all parts
  size_t element = 0;

  // The next columns, unless the tensor is absent; of one part with those before if they continue its rows. Fails where the steps between
  // rows differ or a row is not contiguous.
  Status add(const char* name, const View& view) {
    if (!view) return Status::ok();
    const int r = view.rank;
    Part part;
    element = size_of(view.dtype);
    part.data = view.as<char>();
    part.width = view.dims[r - 2] * view.dims[r - 1];
    bool regular =
        (view.dims[r - 1] <= 1 || view.strides[r - 1] == 1) && (view.dims[r - 2] <= 1 || view.strides[r - 2] == view.dims[r - 1]);
    int64_t next = -1, rows = 1;
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
    if (count > 0) {
      Part& last = parts[count - 1];
      const bool follows = part.data == last.data + last.width * static_cast<int64_t>(element);
      if (follows && (rows <= 1 || part.ld == last.ld)) {
        last.width += part.width;
        return Status::ok();
      }
    }
    parts[count++] = part;
    return Status::ok();
  }
};

inline Status columns_of(const qkv_args& a, HeadColumns* columns) {
  TILEWISE_RETURN_IF_ERROR(columns->add("q", a.q));
  TILEWISE_RETURN_IF_ERROR(columns->add("k", a.k));
  return columns->add("v", a.v);
}

inline Status columns_of(const qkv_backward_args& a, HeadColumns* columns) {
  TILEWISE_RETURN_IF_ERROR(columns->add("dq", a.dq));
  TILEWISE_RETURN_IF_ERROR(columns->add("dk", a.dk));
  TILEWISE_RETURN_IF_ERROR(columns->add("dv", a.dv));
  const int64_t rows = a.weight.dims[0];
  if (columns->count > 0 && columns->width == rows) return Status::ok();
  return Status::error(Code::invalid_argument, "dq, dk and dv must have " + std::to_string(rows) +
                                                   " columns together as weight has rows, have " + std::to_string(columns->width));
}

}  // namespace tilewise
