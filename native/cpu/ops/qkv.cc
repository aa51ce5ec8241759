// The projections to queries, keys and values. Slices of one packed buffer that lie side by side are one product. Where heads turn, or rows
// go to a cache, products wait in scratch memory in f32, a few rows at a time.
#include "../../core/qkv.h"

#include <cstring>

#include "../elementwise.h"
#include "../index.h"
#include "../linear_gradient.h"

namespace tilewise::cpu::TILEWISE_ISA {
namespace {

// y = the head x turned, by the opposite angles where direction is -1. y may be x.
template <class X, class Y>
void turn_head(const Rotary& r, const float* cosines, const float* sines, float direction, const X* x, Y* y) {
  const int64_t pairs = r.pairs;
  if (r.interleaved) {
#pragma omp simd
    for (int64_t i = 0; i < pairs; ++i) {
      const float a = static_cast<float>(x[2 * i]), b = static_cast<float>(x[2 * i + 1]), s = direction * sines[i];
      y[2 * i] = Y(a * cosines[i] - b * s);
      y[2 * i + 1] = Y(b * cosines[i] + a * s);
    }
  } else {
#pragma omp simd
    for (int64_t i = 0; i < pairs; ++i) {
      const float a = static_cast<float>(x[i]), b = static_cast<float>(x[i + pairs]), s = direction * sines[i];
      y[i] = Y(a * cosines[i] - b * s);
      y[i + pairs] = Y(b * cosines[i] + a * s);
    }
  }
#pragma omp simd
  for (int64_t i = 2 * pairs; i < r.head; ++i) y[i] = Y(static_cast<float>(x[i]));
}

// Columns `begin` to `end` of a row, whole heads; x and y are the first of them.
template <class X, class Y>
void turn_row(const Rotary& r, int64_t row, float direction, int64_t begin, int64_t end, const X* x, Y* y) {
  const int64_t turned = std::max(begin, std::min(end, r.columns));
  if (turned > begin) {
    const int64_t position = r.ids ? r.ids[row % r.period] : row % r.period;
    const float *cosines = r.cosines + position * r.pairs, *sines = r.sines + position * r.pairs;
    for (int64_t c = 0; c < turned - begin; c += r.head) turn_head(r, cosines, sines, direction, x + c, y + c);
  }
#pragma omp simd
  for (int64_t c = turned - begin; c < end - begin; ++c) y[c] = Y(static_cast<float>(x[c]));
}

Status check_slots(const View& slots, int64_t rows) {
  const int32_t* values = slots.as<int32_t>();
  const int64_t n = slots.count();
  for (int64_t i = 0; i < n; ++i)
    if (values[i] >= rows) return index_error("slots", slots, i, rows, values[i]);
  return Status::ok();
}

Status check_positions(const View& position_ids, const View& cosines) {
  return position_ids ? check_rows("position_ids", position_ids, cosines.dims[0]) : Status::ok();
}

// The product `g` a few rows at a time, then each row to where it belongs.
template <class T>
Status store_rows(Context& context, const qkv_args& a, const HeadColumns& columns, Gemm g, const Epilogue& e) {
  const Rotary rotary = rotary_of(a);
  const int32_t* slots = a.slots ? a.slots.as<const int32_t>() : nullptr;
  // Few enough rows that they are still in the cache when they are turned, enough for products at full speed.
  constexpr int64_t kRows = 512;
  const int64_t rows = g.m, width = columns.width, step = std::min(kRows, rows);
  void* memory = nullptr;
  TILEWISE_RETURN_IF_ERROR(context.scratch(static_cast<size_t>(step * width) * sizeof(float), &memory));
  const float* products = static_cast<float*>(memory);  // [step, width]
  g.n = g.ldc = width;
  g.dtype_c = DType::f32;
  for (int64_t first = 0; first < rows; first += step) {
    g.m = std::min(step, rows - first);
    TILEWISE_RETURN_IF_ERROR(gemm(g, a.x.as<T>() + first * g.k, a.weight.data, memory, e));
    parallel_for(g.m, std::max<int64_t>(1, 16384 / width), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t row = first + i;
        int64_t column = 0;
        for (int p = 0; p < columns.count; column += columns.parts[p++].width) {
          const HeadColumns::Part& part = columns.parts[p];
          const int64_t to = part.cached ? slots[row] : row;
          if (to < 0) continue;
          turn_row(rotary, row, 1.0f, column, column + part.width, products + i * width + column,
                   reinterpret_cast<T*>(part.data) + to * part.ld);
        }
      }
    });
  }
  return Status::ok();
}

}  // namespace

Status qkv(Context& context, const qkv_args& a) {
  HeadColumns columns;
  TILEWISE_RETURN_IF_ERROR(columns_of(a, &columns));
  Gemm g;
  g.m = a.x.rows(), g.k = a.x.last();
  g.transpose_b = true;
  g.lda = g.ldb = g.k;
  g.dtype_a = g.dtype_b = g.dtype_c = a.x.dtype;
  Epilogue e;
  if (a.bias) e.bias = a.bias.data, e.bias_dtype = a.bias.dtype;
  if (a.cosines || a.slots) {
    if (g.m == 0) return Status::ok();
    TILEWISE_RETURN_IF_ERROR(check_positions(a.position_ids, a.cosines));
    if (a.slots) TILEWISE_RETURN_IF_ERROR(check_slots(a.slots, slot_rows(a)));
    return dispatch_float(a.x.dtype, [&](auto type) { return store_rows<decltype(type)>(context, a, columns, g, e); });
  }
  const char* weight = a.weight.as<char>();
  const char* bias = a.bias ? a.bias.as<char>() : nullptr;
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
  // Gradients reach this op even where the forward failed on its positions.
  TILEWISE_RETURN_IF_ERROR(check_positions(a.position_ids, a.cosines));
  const Rotary rotary = rotary_of(a);
  LinearShape s;
  s.rows = a.x.rows(), s.in = a.x.last(), s.out = a.weight.dims[0];
  s.dtype = a.x.dtype;
  void* dy = columns.parts[0].data;
  s.ld_dy = s.rows > 1 ? columns.parts[0].ld : s.out;
  if (columns.count > 1 || rotary.cosines) {
    s.ld_dy = s.out;
    TILEWISE_RETURN_IF_ERROR(context.scratch(static_cast<size_t>(s.rows * s.out) * columns.element, &dy));
    TILEWISE_RETURN_IF_ERROR(dispatch_float(s.dtype, [&](auto type) {
      using T = decltype(type);
      parallel_for(s.rows, std::max<int64_t>(1, 16384 / std::max<int64_t>(1, s.out)), [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          T* const packed = static_cast<T*>(dy) + row * s.out;
          T* to = packed;
          for (int i = 0; i < columns.count; ++i) {
            const HeadColumns::Part& part = columns.parts[i];
            std::memcpy(static_cast<void*>(to), part.data + row * part.ld * static_cast<int64_t>(sizeof(T)),
                        static_cast<size_t>(part.width) * sizeof(T));
            to += part.width;
          }
          if (rotary.cosines) turn_row(rotary, row, -1.0f, 0, rotary.columns, packed, packed);
        }
      });
      return Status::ok();
    }));
  }
  return linear_gradient(context, s, dy, a.x.data, a.weight.data, a.dx ? a.dx.data : nullptr, a.dweight ? a.dweight.as<float>() : nullptr,
                         a.dbias ? a.dbias.as<float>() : nullptr);
}

}  // namespace tilewise::cpu::TILEWISE_ISA
