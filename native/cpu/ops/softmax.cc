// Softmax and its logarithm over the last dimension, in f32. A row of -inf gives zeros (log: -inf) and the gradient 0.
#include <cmath>

#include "../../core/scalar.h"
#include "../elementwise.h"
#include "../rows.h"

namespace tilewise::cpu::TILEWISE_ISA {
namespace {

// body(row, type) for each row of n elements, rows shared out over threads.
template <class Body>
void each_row(const View& x, Body&& body) {
  const int64_t n = x.last();
  parallel_for(n > 0 ? x.rows() : 0, row_grain(n), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) body(row * n, n);
  });
}

// The largest element, NaN apart: one comparison an element. A NaN shows in the sum of exponentials, unless all else is -inf.
template <class T>
float top_of(const T* x, int64_t n) {
  const float top = join_row(
      n, -kInfinity, [=](int64_t i) { return static_cast<float>(x[i]); },
      [](float a, float b) __attribute__((always_inline)) { return b > a ? b : a; });
  return top == -kInfinity ? max_row(n, [=](int64_t i) { return static_cast<float>(x[i]); }) : top;
}

template <class T>
void softmax_row(const T* x, T* y, int64_t n, float scale) {
  // Rounding keeps order, so the largest product is that of the largest element, or of the smallest.
  const float top = scale > 0.0f ? scale * top_of(x, n) : max_row(n, [=](int64_t i) { return scale * static_cast<float>(x[i]); });
  if (top == -kInfinity) {
    for (int64_t i = 0; i < n; ++i) y[i] = T(0.0f);
    return;
  }
  const auto weight = [=](int64_t i) __attribute__((always_inline)) {
    const float difference = scale * static_cast<float>(x[i]) - top;
    return scalar::exp_of_nonpositive(difference > 0.0f ? 0.0f : difference);  // above 0 where a fused product was not rounded and top was
  };
  if constexpr (std::is_same_v<T, float>) {
    const float total = sum_row(n, [=](int64_t i) { return y[i] = weight(i); });
    const float share = 1.0f / total;
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) y[i] *= share;
  } else {
    // The weights would lose digits in y's precision: they are computed twice.
    const float share = 1.0f / sum_row(n, weight);
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) y[i] = T(weight(i) * share);
  }
}

template <class T>
void log_softmax_row(const T* x, T* y, int64_t n) {
  const float top = top_of(x, n);
  if (top == -kInfinity) {
    for (int64_t i = 0; i < n; ++i) y[i] = T(-kInfinity);
    return;
  }
  const float log_total = std::log(sum_row(n, [=](int64_t i) { return scalar::exp_of_nonpositive(static_cast<float>(x[i]) - top); }));
  // Subtracting one after the other keeps the digits of x - top where both are large.
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) y[i] = T((static_cast<float>(x[i]) - top) - log_total);
}

}  // namespace

Status softmax(Context&, const softmax_args& a) {
  return dispatch_float(a.x.dtype, [&](auto type) {
    using T = decltype(type);
    each_row(a.x, [&](int64_t at, int64_t n) { softmax_row(a.x.as<T>() + at, a.y.as<T>() + at, n, a.scale); });
    return Status::ok();
  });
}

// dx = scale * y * (dy - sum(dy * y))
Status softmax_backward(Context&, const softmax_backward_args& a) {
  return dispatch_float(a.y.dtype, [&](auto type) {
    using T = decltype(type);
    each_row(a.y, [&](int64_t at, int64_t n) {
      const T *y = a.y.as<T>() + at, *dy = a.dy.as<T>() + at;
      T* dx = a.dx.as<T>() + at;
      const float scale = a.scale;
      const float dot = sum_row(n, [&](int64_t i) { return static_cast<float>(dy[i]) * static_cast<float>(y[i]); });
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) dx[i] = T(scale * static_cast<float>(y[i]) * (static_cast<float>(dy[i]) - dot));
    });
    return Status::ok();
  });
}

Status log_softmax(Context&, const log_softmax_args& a) {
  return dispatch_float(a.x.dtype, [&](auto type) {
    using T = decltype(type);
    each_row(a.x, [&](int64_t at, int64_t n) { log_softmax_row(a.x.as<T>() + at, a.y.as<T>() + at, n); });
    return Status::ok();
  });
}

// dx = dy - exp(y) * sum(dy)
Status log_softmax_backward(Context&, const log_softmax_backward_args& a) {
  return dispatch_float(a.y.dtype, [&](auto type) {
    using T = decltype(type);
    each_row(a.y, [&](int64_t at, int64_t n) {
      const T *y = a.y.as<T>() + at, *dy = a.dy.as<T>() + at;
      T* dx = a.dx.as<T>() + at;
      const float total = sum_row(n, [&](int64_t i) { return static_cast<float>(dy[i]); });
      if (top_of(y, n) == -kInfinity) {
        for (int64_t i = 0; i < n; ++i) dx[i] = T(0.0f);
        return;
      }
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) dx[i] = T(static_cast<float>(dy[i]) - scalar::exp_of_nonpositive(static_cast<float>(y[i])) * total);
    });
    return Status::ok();
  });
}

}  // namespace tilewise::cpu::TILEWISE_ISA
