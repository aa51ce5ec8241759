// The 2-norm over many tensors, and scaling them down to a largest norm.
#include <cmath>

#include "../tensors.h"

namespace tilewise::cpu::TILEWISE_ISA {
namespace {

// In double: squares of gradients leave f32's range at 1e19 and vanish at 1e-23, and the pass is bound by memory either way. Sixteen
// running sums make the order of additions the same for every vector width.
template <class T>
double sum_of_squares(const T* x, int64_t n) {
  constexpr int kLanes = 16;
  double lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
#pragma omp simd
    for (int k = 0; k < kLanes; ++k) {
      const double value = static_cast<float>(x[i + k]);
      lanes[k] += value * value;
    }
  }
  for (int k = 0; i < n; ++i, ++k) {
    const double value = static_cast<float>(x[i]);
    lanes[k] += value * value;
  }
  double sum = 0.0;
  for (double lane : lanes) sum += lane;
  return sum;
}

}  // namespace

Status global_norm(Context& context, const global_norm_args& a) {
  for (const View& x : a.xs)
    if (!is_float(x.dtype)) return unsupported(std::string("the norm of dtype ") + name_of(x.dtype));
  Piece* pieces = nullptr;
  int64_t count = 0;
  TILEWISE_RETURN_IF_ERROR(pieces_of(context, a.xs, &pieces, &count));
  void* memory = nullptr;
  TILEWISE_RETURN_IF_ERROR(context.scratch(static_cast<size_t>(std::max<int64_t>(1, count)) * sizeof(double), &memory));
  auto* sums = static_cast<double*>(memory);
  parallel_for(count, 2, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const View& x = a.xs[pieces[i].tensor];
      const int64_t from = pieces[i].from, n = pieces[i].count;
      sums[i] = x.dtype == DType::f32    ? sum_of_squares(x.as<float>() + from, n)
                : x.dtype == DType::bf16 ? sum_of_squares(x.as<bf16>() + from, n)
                                         : sum_of_squares(x.as<f16>() + from, n);
    }
  });
  double total = 0.0;
  for (int64_t i = 0; i < count; ++i) total += sums[i];
  *a.norm.as<float>() = static_cast<float>(std::sqrt(total));
  return Status::ok();
}

Status clip_by_norm(Context& context, const clip_by_norm_args& a) {
  const float factor = a.max_norm / (*a.norm.as<float>() + 1e-6f);
  if (factor >= 1.0f) return Status::ok();  // a NaN norm goes on, and makes everything NaN
  Piece* pieces = nullptr;
  int64_t count = 0;
  TILEWISE_RETURN_IF_ERROR(pieces_of(context, a.xs, &pieces, &count));
  for (const View& x : a.xs)
    if (x.dtype != DType::f32) return unsupported(std::string("clipping of dtype ") + name_of(x.dtype));
  parallel_for(count, 2, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float* x = a.xs[pieces[i].tensor].as<float>() + pieces[i].from;
#pragma omp simd
      for (int64_t k = 0; k < pieces[i].count; ++k) x[k] *= factor;
    }
  });
  return Status::ok();
}

}  // namespace tilewise::cpu::TILEWISE_ISA
