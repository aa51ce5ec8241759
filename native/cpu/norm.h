// Layer norm and RMS norm in one text: sum = residual + dropout(x), y = norm(sum), everything in f32 and the variance by two passes.
#pragma once
#include <cmath>

#include "dropout.h"
#include "elementwise.h"
#include "rows.h"

namespace tilewise::cpu::TILEWISE_ISA {

struct NormDropout {
  float p;
  uint64_t seed, counter;

  // mask[i] for the row that begins at element `first`.
  void fill(int64_t first, int64_t n, float* mask) const {
    random::dropout_mask(seed, counter, static_cast<uint64_t>(first), n, p, 1.0f / (1.0f - p), mask);
  }
};

// RMS norm has no bias and no mean: absent views.
struct NormForward {
  const View &x, &residual, &weight, bias, &y, &sum, mean, &rstd;
  float eps;
  NormDropout dropout;
};

struct NormBackward {
  const View &dy, &dsum, &sum, &weight, mean, &rstd, &dx, &dresidual, &dweight, dbias;
  NormDropout dropout;
};

// A parameter as f32: itself if it is, else a copy; `standard` everywhere if it is absent.
inline Status parameter_row(Context& context, const View& parameter, int64_t n, float standard, const float** row) {
  if (parameter && parameter.dtype == DType::f32) {
    *row = parameter.as<float>();
    return Status::ok();
  }
  void* memory;
  TILEWISE_RETURN_IF_ERROR(context.scratch(static_cast<size_t>(n) * 4, &memory));
  float* values = static_cast<float*>(memory);
  *row = values;
  if (!parameter) {
    std::fill(values, values + n, standard);
    return Status::ok();
  }
  return dispatch_float(parameter.dtype, [&](auto type) {
    for (int64_t i = 0; i < n; ++i) values[i] = static_cast<float>(parameter.as<decltype(type)>()[i]);
    return Status::ok();
  });
}

// Two rows of f32 for each thread.
inline Status thread_rows(Context& context, int64_t n, float** rows) {
  void* memory;
  TILEWISE_RETURN_IF_ERROR(context.scratch(static_cast<size_t>(2 * n * omp_get_max_threads()) * 4, &memory));
  *rows = static_cast<float*>(memory);
  return Status::ok();
}

// values[i] = f(i), rounded to T as it is stored in `sum` (which may be null, or `values` itself): the norm is that of the stored sum.
template <class T, class F>
inline void store_row(int64_t n, T* sum, float* values, F f) {
  if constexpr (std::is_same_v<T, float>) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) values[i] = f(i);
  } else if (sum) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) {
      const T value(f(i));
      sum[i] = value;
      values[i] = static_cast<float>(value);
    }
  } else {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) values[i] = static_cast<float>(T(f(i)));
  }
}

template <bool kCentered, class T>
Status norm_forward(Context& context, const NormForward& a) {
  const int64_t n = a.x.last(), rows = a.x.rows();
  const float *weight, *bias;
  float* buffers;
  TILEWISE_RETURN_IF_ERROR(parameter_row(context, a.weight, n, 1.0f, &weight));
  TILEWISE_RETURN_IF_ERROR(parameter_row(context, a.bias, n, 0.0f, &bias));
  TILEWISE_RETURN_IF_ERROR(thread_rows(context, n, &buffers));
  parallel_for(rows, row_grain(n), [&](int64_t begin, int64_t end) {
    float *buffer = buffers + 2 * n * omp_get_thread_num(), *mask = buffer + n;
    for (int64_t row = begin; row < end; ++row) {
      const T *x = a.x.as<T>() + row * n, *residual = a.residual ? a.residual.as<T>() + row * n : nullptr;
      T *y = a.y.as<T>() + row * n, *sum = a.sum ? a.sum.as<T>() + row * n : nullptr;
      const float* values = buffer;
      if (std::is_same_v<T, float> && !sum) {
        values = reinterpret_cast<const float*>(x);
      } else {
        float* built = std::is_same_v<T, float> ? reinterpret_cast<float*>(sum) : buffer;
        values = built;
        if (a.dropout.p > 0.0f) a.dropout.fill(row * n, n, mask);
        if (a.dropout.p > 0.0f && residual)
          store_row(n, sum, built, [=](int64_t i) { return static_cast<float>(residual[i]) + kept(mask[i], static_cast<float>(x[i])); });
        else if (a.dropout.p > 0.0f)
          store_row(n, sum, built, [=](int64_t i) { return kept(mask[i], static_cast<float>(x[i])); });
        else if (residual)
          store_row(n, sum, built, [=](int64_t i) { return static_cast<float>(residual[i]) + static_cast<float>(x[i]); });
        else
          store_row(n, sum, built, [=](int64_t i) { return static_cast<float>(x[i]); });
      }
      const float mean = kCentered ? sum_row(n, [=](int64_t i) { return values[i]; }) / static_cast<float>(n) : 0.0f;
      const float squares = sum_row(n, [=](int64_t i) { return (values[i] - mean) * (values[i] - mean); });
      const float rstd = 1.0f / std::sqrt(squares / static_cast<float>(n) + a.eps);
      if (kCentered) a.mean.as<float>()[row] = mean;
      a.rstd.as<float>()[row] = rstd;
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) y[i] = T((values[i] - mean) * rstd * weight[i] + bias[i]);
    }
  });
  return Status::ok();
}

// Adds row's part of the parameters' gradients into dweight and dbias (null: not wanted), and gives sum(g) and sum(g * xhat), g = dy *
// weight.
template <bool kCentered, bool kParameters, class T>
inline void norm_sums(int64_t n, const T* dy, const T* sum, const float* weight, float mean, float rstd, float* dweight, float* dbias,
                      float* sum_g, float* sum_gx) {
  float lanes_g[kRowLanes] = {}, lanes_gx[kRowLanes] = {};
  const auto step = [ =, &lanes_g, &lanes_gx ](int64_t i, int k) __attribute__((always_inline)) {
    const float d = static_cast<float>(dy[i]), xhat = (static_cast<float>(sum[i]) - mean) * rstd, g = d * weight[i];
    lanes_g[k] += g;
    lanes_gx[k] += g * xhat;
    if (kParameters) {
      dweight[i] += d * xhat;
      if (kCentered) dbias[i] += d;
    }
  };
  int64_t i = 0;
  for (; i + kRowLanes <= n; i += kRowLanes) {
#pragma omp simd
    for (int k = 0; k < kRowLanes; ++k) step(i + k, k);
  }
  for (int k = 0; i < n; ++i, ++k) step(i, k);
  *sum_g = sum_row(kRowLanes, [&](int64_t k) { return lanes_g[k]; });
  *sum_gx = sum_row(kRowLanes, [&](int64_t k) { return lanes_gx[k]; });
}

// d = rstd * (g - mean(g) - xhat * mean(g * xhat)) + dsum; dresidual = d, dx = dropout(d).
template <bool kCentered, class T>
inline void norm_backward_row(const NormBackward& a, int64_t row, int64_t n, const float* weight, float* partial, float* buffer,
                              float* mask) {
  const T *dy = a.dy.as<T>() + row * n, *sum = a.sum.as<T>() + row * n, *dsum = a.dsum ? a.dsum.as<T>() + row * n : nullptr;
  const float mean = kCentered ? a.mean.as<float>()[row] : 0.0f, rstd = a.rstd.as<float>()[row];
  float sum_g, sum_gx;
  if (partial)
    norm_sums<kCentered, true>(n, dy, sum, weight, mean, rstd, partial, partial + n, &sum_g, &sum_gx);
  else
    norm_sums<kCentered, false>(n, dy, sum, weight, mean, rstd, nullptr, nullptr, &sum_g, &sum_gx);
  if (!a.dx && !a.dresidual) return;
  const float mean_g = kCentered ? sum_g / static_cast<float>(n) : 0.0f, mean_gx = sum_gx / static_cast<float>(n);
  // Of a single value the mean takes everything: without this, 1 / sqrt(eps) would scale up a rounding error.
  const float factor = kCentered && n == 1 ? 0.0f : rstd;
  const auto gradient = [=](int64_t i) __attribute__((always_inline)) {
    const float xhat = (static_cast<float>(sum[i]) - mean) * rstd;
    return factor * (static_cast<float>(dy[i]) * weight[i] - mean_g - xhat * mean_gx);
  };
  const bool dropped = a.dropout.p > 0.0f;
  T *dx = a.dx ? a.dx.as<T>() + row * n : nullptr, *dresidual = a.dresidual ? a.dresidual.as<T>() + row * n : nullptr;
  T* only = dropped ? nullptr : dx && !dresidual ? dx : !dx ? dresidual : nullptr;
  if (only && !dsum) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) only[i] = T(gradient(i));
    return;
  }
  if (only) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) only[i] = T(gradient(i) + static_cast<float>(dsum[i]));
    return;
  }
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) buffer[i] = gradient(i);
  if (dsum) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) buffer[i] += static_cast<float>(dsum[i]);
  }
  if (dresidual) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) dresidual[i] = T(buffer[i]);
  }
  if (!dx) return;
  if (dropped)
    a.dropout.fill(row * n, n, mask);
  else
    std::fill(mask, mask + n, 1.0f);
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) dx[i] = T(kept(mask[i], buffer[i]));
}

// The parameters' gradients are summed over blocks of rows that depend on the number of rows alone, then over the blocks in order.
template <bool kCentered, class T>
Status norm_backward(Context& context, const NormBackward& a) {
  const int64_t n = a.sum.last(), rows = a.sum.rows();
  if (n == 0 || rows == 0) return Status::ok();
  const int64_t block = std::max<int64_t>(32, (rows + 127) / 128), blocks = (rows + block - 1) / block;
  const bool parameters = a.dweight || a.dbias;
  const float* weight;
  float* buffers;
  void* memory = nullptr;
  TILEWISE_RETURN_IF_ERROR(parameter_row(context, a.weight, n, 1.0f, &weight));
  TILEWISE_RETURN_IF_ERROR(thread_rows(context, n, &buffers));
  if (parameters) TILEWISE_RETURN_IF_ERROR(context.scratch(static_cast<size_t>(2 * n * blocks) * 4, &memory));
  float* partials = static_cast<float*>(memory);
  parallel_for(blocks, std::max<int64_t>(1, row_grain(n) / block), [&](int64_t begin, int64_t end) {
    float* buffer = buffers + 2 * n * omp_get_thread_num();
    for (int64_t at = begin; at < end; ++at) {
      float* partial = parameters ? partials + 2 * n * at : nullptr;
      if (partial) std::fill(partial, partial + 2 * n, 0.0f);
      for (int64_t row = at * block; row < std::min(rows, (at + 1) * block); ++row)
        norm_backward_row<kCentered, T>(a, row, n, weight, partial, buffer, buffer + n);
    }
  });
  const auto collect = [&](const View& gradient, const float* first) {
    if (!gradient) return;
    parallel_for(n, row_grain(blocks), [&](int64_t begin, int64_t end) {
      for (int64_t at = 0; at < blocks; ++at) {
        float* total = gradient.as<float>();
        const float* partial = first + 2 * n * at;
#pragma omp simd
        for (int64_t i = begin; i < end; ++i) total[i] += partial[i];
      }
    });
  };
  collect(a.dweight, partials);
  collect(a.dbias, partials + n);
  return Status::ok();
}

}  // namespace tilewise::cpu::TILEWISE_ISA
