// The arguments of qkv and qkv_backward, as every device takes them apart.
#pragma once
#include <string>

#include "ops.h"
#include "status.h"

namespace tilewise {

// Queries, keys and values, or their gradients: tensors [..., heads, head size] as the columns of one matrix.
struct HeadColumns {
  // Neighbouring columns: rows `ld` elements apart, of a cache those that slots name.
  struct Part {
    char* data = nullptr;
    int64_t width = 0, ld = 0;
    bool cached = false;
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

  // The next columns, to be stored in rows of a cache.
  Status add_cache(const char* name, const View& view) {
    if (!view) return Status::ok();
    if (!view.contiguous()) return Status::error(Code::invalid_argument, std::string(name) + " must be contiguous");
    element = size_of(view.dtype);
    const int64_t columns = view.dims[view.rank - 2] * view.dims[view.rank - 1];
    width += columns;
    parts[count++] = {view.as<char>(), columns, columns, true};
    return Status::ok();
  }
};

inline Status columns_of(const qkv_args& a, HeadColumns* columns) {
  TILEWISE_RETURN_IF_ERROR(columns->add("q", a.q));
  if (a.slots) {
    TILEWISE_RETURN_IF_ERROR(columns->add_cache("k_cache", a.k_cache));
    return columns->add_cache("v_cache", a.v_cache);
  }
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

// Rows of the caches.
inline int64_t slot_rows(const qkv_args& a) {
  const View& cache = a.k_cache ? a.k_cache : a.v_cache;
  int64_t rows = cache ? 1 : 0;
  for (int i = 0; i + 2 < cache.rank; ++i) rows *= cache.dims[i];
  return rows;
}

// Rotary positions (Su et al. 2021, RoFormer, section 3.4): pair i of a head, (a, b), turns by the angle i of its row's position to
// (a cos - b sin, b cos + a sin).
struct Rotary {
  const float *cosines = nullptr, *sines = nullptr;  // [positions, pairs]; null: nothing turns
  int64_t positions = 0, columns = 0;                // columns: those of q and k, which come first
  int32_t head = 1, pairs = 0;                       // columns of a head, and how many pairs of them turn
  bool interleaved = false;                          // whether pair i is (2i, 2i + 1), not (i, i + pairs)
  const int32_t* ids = nullptr;                      // a row's position is ids[row % period], without ids row % period
  int64_t period = 1;

  Rotary() = default;
  // q, k: the tensors whose heads turn, or one of them.
  template <class Args>
  Rotary(const Args& a, const View& q, const View& k) {
    if (!a.cosines) return;
    cosines = a.cosines.template as<const float>(), sines = a.sines.template as<const float>();
    positions = a.cosines.dims[0];
    pairs = static_cast<int32_t>(a.cosines.dims[1]);
    interleaved = a.interleaved != 0;
    if (a.position_ids) ids = a.position_ids.template as<const int32_t>();
    period = a.position_ids ? a.position_ids.count() : a.x.rank > 1 ? a.x.dims[a.x.rank - 2] : 1;
    if (period < 1) period = 1;
    for (const View* heads : {&q, &k}) {
      if (!*heads) continue;
      head = static_cast<int32_t>(heads->last());
      columns += heads->dims[heads->rank - 2] * heads->last();
    }
  }
};

inline Rotary rotary_of(const qkv_args& a) { return Rotary(a, a.q, a.slots ? a.k_cache : a.k); }
inline Rotary rotary_of(const qkv_backward_args& a) { return Rotary(a, a.dq, a.dk); }

}  // namespace tilewise
