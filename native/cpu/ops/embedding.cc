// y[n] = dropout(scale * table[ids[n]] + positions[position_ids[n]]). position_ids repeats over the leading dimensions of ids; without it,
// the position is the index along the last dimension of ids.
#include "../../core/random.h"
#include "../elementwise.h"
#include "../index.h"

namespace tilewise::cpu::TILEWISE_ISA {
namespace {

// The row of positions that belongs to token n.
struct Positions {
  const int32_t* ids;
  int64_t period;

  Positions(const View& ids_view, const View& position_ids)
      : ids(position_ids ? position_ids.as<int32_t>() : nullptr),
        period(std::max<int64_t>(1, position_ids ? position_ids.count() : ids_view.last())) {}
  int64_t operator[](int64_t n) const { return ids ? ids[n % period] : n % period; }
};

}  // namespace

Status embedding(Context&, const embedding_args& a) {
  TILEWISE_RETURN_IF_ERROR(check_rows("ids", a.ids, a.table.dims[0]));
  if (a.positions && a.position_ids) TILEWISE_RETURN_IF_ERROR(check_rows("position_ids", a.position_ids, a.positions.dims[0]));
  const int64_t rows = a.ids.count(), columns = a.table.last();
  const Positions position(a.ids, a.position_ids);
  const int32_t* ids = a.ids.as<int32_t>();
  const float scale = a.scale, p = a.dropout, kept = 1.0f / (1.0f - p);
  return dispatch_float(a.table.dtype, [&](auto type) {
    using T = decltype(type);
    const T* table = a.table.as<T>();
    const T* positions = a.positions ? a.positions.as<T>() : nullptr;
    T* y = a.y.as<T>();
    parallel_for(rows, std::max<int64_t>(1, 16384 / std::max<int64_t>(1, columns)), [&](int64_t begin, int64_t end) {
      constexpr int64_t kTile = 512;
      float tile[kTile];
      for (int64_t n = begin; n < end; ++n) {
        for (int64_t from = 0; from < columns; from += kTile) {
          const int64_t count = std::min(kTile, columns - from);
          const T* token = table + ids[n] * columns + from;
          T* out = y + n * columns + from;
#pragma omp simd
          for (int64_t c = 0; c < count; ++c) tile[c] = scale * static_cast<float>(token[c]);
          if (positions) {
            const T* place = positions + position[n] * columns + from;
#pragma omp simd
            for (int64_t c = 0; c < count; ++c) tile[c] += static_cast<float>(place[c]);
          }
          if (p > 0.0f) random::apply_dropout(a.seed, a.counter, static_cast<uint64_t>(n * columns + from), count, p, kept, tile);
#pragma omp simd
          for (int64_t c = 0; c < count; ++c) out[c] = T(tile[c]);
        }
      }
    });
    return Status::ok();
  });
}

// Tokens in their order, columns split over threads: the sums do not depend on the number of threads.
Status embedding_backward(Context&, const embedding_backward_args& a) {
  // Gradients reach this op even where the forward failed on its ids.
  if (a.dtable) TILEWISE_RETURN_IF_ERROR(check_rows("ids", a.ids, a.dtable.dims[0]));
  if (a.dpositions && a.position_ids) TILEWISE_RETURN_IF_ERROR(check_rows("position_ids", a.position_ids, a.dpositions.dims[0]));
  const int64_t rows = a.ids.count(), columns = a.dy.last();
  const Positions position(a.ids, a.position_ids);
  const int32_t* ids = a.ids.as<int32_t>();
  const float scale = a.scale, p = a.dropout, kept = 1.0f / (1.0f - p);
  float* dtable = a.dtable ? a.dtable.as<float>() : nullptr;
  float* dpositions = a.dpositions ? a.dpositions.as<float>() : nullptr;
  return dispatch_float(a.dy.dtype, [&](auto type) {
    using T = decltype(type);
    const T* dy = a.dy.as<T>();
    parallel_columns(columns, rows, [&](int64_t begin, int64_t end) {
      constexpr int64_t kTile = 512;
      float tile[kTile];
      for (int64_t n = 0; n < rows; ++n) {
        float* row = dtable && ids[n] != a.padding_index ? dtable + ids[n] * columns : nullptr;
        float* place = dpositions ? dpositions + position[n] * columns : nullptr;
        if (!row && !place) continue;
        for (int64_t from = begin; from < end; from += kTile) {
          const int64_t count = std::min(kTile, end - from);
          const T* in = dy + n * columns + from;
#pragma omp simd
          for (int64_t c = 0; c < count; ++c) tile[c] = static_cast<float>(in[c]);
          if (p > 0.0f) random::apply_dropout(a.seed, a.counter, static_cast<uint64_t>(n * columns + from), count, p, kept, tile);
          if (row) {
#pragma omp simd
            for (int64_t c = 0; c < count; ++c) row[from + c] += scale * tile[c];
          }
          if (place) {
#pragma omp simd
            for (int64_t c = 0; c < count; ++c) place[from + c] += tile[c];
          }
        }
      }
    });
    return Status::ok();
  });
}

}  // namespace tilewise::cpu::TILEWISE_ISA
