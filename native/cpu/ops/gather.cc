// Rows by number: gather_rows reads them, scatter_rows adds to them.
#include "../elementwise.h"
#include "../index.h"

namespace tilewise::cpu::TILEWISE_ISA {

Status gather_rows(Context&, const gather_rows_args& a) {
  TILEWISE_RETURN_IF_ERROR(check_rows("index", a.index, a.x.dims[0]));
  const int64_t rows = a.index.count();
  if (rows == 0 || a.y.count() == 0) return Status::ok();
  const size_t row_bytes = static_cast<size_t>(a.y.count() / rows) * size_of(a.x.dtype);
  const char* x = a.x.as<char>();
  char* y = a.y.as<char>();
  const int32_t* index = a.index.as<int32_t>();
  parallel_for(rows, static_cast<int64_t>(1 + 65536 / row_bytes), [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n)
      std::memcpy(y + static_cast<size_t>(n) * row_bytes, x + static_cast<size_t>(index[n]) * row_bytes, row_bytes);
  });
  return Status::ok();
}

Status scatter_rows(Context&, const scatter_rows_args& a) {
  if (a.y.dtype != DType::f32) return unsupported(std::string("scatter_rows into ") + name_of(a.y.dtype));
  TILEWISE_RETURN_IF_ERROR(check_rows("index", a.index, a.y.dims[0]));
  const int64_t rows = a.index.count();
  if (rows == 0) return Status::ok();
  const int64_t columns = a.x.count() / rows;
  const int32_t* index = a.index.as<int32_t>();
  float* y = a.y.as<float>();
  return dispatch_float(a.x.dtype, [&](auto type) {
    using T = decltype(type);
    const T* x = a.x.as<T>();
    parallel_columns(columns, rows, [&](int64_t begin, int64_t end) {
      for (int64_t n = 0; n < rows; ++n) {
        const T* from = x + n * columns;
        float* to = y + index[n] * columns;
#pragma omp simd
        for (int64_t c = begin; c < end; ++c) to[c] += static_cast<float>(from[c]);
      }
    });
    return Status::ok();
  });
}

}  // namespace tilewise::cpu::TILEWISE_ISA
