// y = dropout(act(x W1^T + b1)) W2^T + b2, and the gated form with hidden rows act(gate) * up.
#include "../../core/feed_forward.h"
#include "../dropout.h"
#include "../linear_gradient.h"

namespace tilewise::cpu::TILEWISE_ISA {
namespace {

struct Layer : FeedForward {
  using FeedForward::FeedForward;
  // Whether the products' epilogues do all that lies between the products.
  bool fuses() const { return !gated && dropout == 0; }
};

template <class Body>
Status dispatch_product_dtype(DType dtype, Body&& body) {
  if (dtype == DType::f32) return body(float{});
  if (dtype == DType::bf16) return body(bf16{});
  return unsupported(std::string("dtype ") + name_of(dtype));
}

// body(row, column, n, mask) over tiles of the hidden rows [first, first + rows) with their dropout factors; row counts from `first`.
constexpr int64_t kTile = 512;
template <class Body>
void each_tile(const Layer& l, int64_t first, int64_t rows, Body&& body) {
  parallel_for(rows, std::max<int64_t>(1, 8192 / std::max<int64_t>(1, l.hidden)), [&](int64_t begin, int64_t end) {
    alignas(64) float mask[kTile];
    std::fill_n(mask, kTile, 1.0f);
    const float kept = l.dropout < 1 ? 1 / (1 - l.dropout) : 0;
    for (int64_t row = begin; row < end; ++row) {
      for (int64_t column = 0; column < l.hidden; column += kTile) {
        const int64_t n = std::min(kTile, l.hidden - column);
        const auto element = static_cast<uint64_t>((first + row) * l.hidden + column);
        if (l.dropout > 0) random::dropout_mask(l.seed, l.counter, element, n, l.dropout, kept, mask);
        body(row, column, n, mask);
      }
    }
  });
}

// hidden = dropout(act(gate) * up); without a gate it may lie where preactivation does.
Status make_hidden(const Layer& l, int64_t first, int64_t rows, const void* preactivation, void* hidden) {
  return dispatch_product_dtype(l.dtype, [&](auto type) {
    using T = decltype(type);
    dispatch_activation(l.activation, [&](auto act) {
      each_tile(l, first, rows, [&](int64_t row, int64_t column, int64_t n, const float* mask) {
        const T* gate = static_cast<const T*>(preactivation) + row * l.width + column;
        T* h = static_cast<T*>(hidden) + row * l.hidden + column;
        if (l.gated) {
          const T* up = gate + l.hidden;
#pragma omp simd
          for (int64_t j = 0; j < n; ++j)
            h[j] = T(kept(mask[j], decltype(act)::f(static_cast<float>(gate[j])) * static_cast<float>(up[j])));
        } else {
#pragma omp simd
          for (int64_t j = 0; j < n; ++j) h[j] = T(kept(mask[j], decltype(act)::f(static_cast<float>(gate[j]))));
        }
      });
    });
    return Status::ok();
  });
}

// The same, and the gradient of preactivation from the gradient of hidden. Without a gate dpreactivation may lie where dhidden does.
Status make_hidden_and_gradient(const Layer& l, int64_t first, int64_t rows, const void* preactivation, const void* dhidden, void* hidden,
                                void* dpreactivation) {
  return dispatch_product_dtype(l.dtype, [&](auto type) {
    using T = decltype(type);
    dispatch_activation(l.activation, [&](auto act) {
      using Act = decltype(act);
      each_tile(l, first, rows, [&](int64_t row, int64_t column, int64_t n, const float* mask) {
        const T* gate = static_cast<const T*>(preactivation) + row * l.width + column;
        const T* dh = static_cast<const T*>(dhidden) + row * l.hidden + column;
        T* h = static_cast<T*>(hidden) + row * l.hidden + column;
        T* dgate = static_cast<T*>(dpreactivation) + row * l.width + column;
        if (l.gated) {
          const T* up = gate + l.hidden;
          T* dup = dgate + l.hidden;
#pragma omp simd
          for (int64_t j = 0; j < n; ++j) {
            const float g = static_cast<float>(gate[j]), u = static_cast<float>(up[j]);
            const float activated = Act::f(g), d = static_cast<float>(dh[j]);
            h[j] = T(kept(mask[j], activated * u));
            dgate[j] = T(kept(mask[j], d * u * Act::df(g)));
            dup[j] = T(kept(mask[j], d * activated));
          }
        } else {
#pragma omp simd
          for (int64_t j = 0; j < n; ++j) {
            const float g = static_cast<float>(gate[j]);
            h[j] = T(kept(mask[j], Act::f(g)));
            dgate[j] = T(kept(mask[j], static_cast<float>(dh[j]) * Act::df(g)));
          }
        }
      });
    });
    return Status::ok();
  });
}

Gemm product(const Layer& l, int64_t m, int64_t n, int64_t k, bool transpose_b) {
  Gemm g;
  g.m = m, g.n = n, g.k = k;
  g.transpose_b = transpose_b;
  g.lda = std::max<int64_t>(1, k), g.ldb = std::max<int64_t>(1, transpose_b ? k : n), g.ldc = n;
  g.dtype_a = g.dtype_b = g.dtype_c = l.dtype;
  return g;
}

}  // namespace

Status feed_forward(Context& context, const feed_forward_args& a) {
  const Layer l(a);
  // Few enough rows that the hidden ones are still in the cache when the second product reads them, enough for products at full speed.
  constexpr int64_t kRows = 512;
  const int64_t step = std::min(kRows, l.rows);
  const bool stores = static_cast<bool>(a.preactivation);
  void *hidden = nullptr, *preactivation = nullptr;
  if (!(stores && l.stores_hidden())) TILEWISE_RETURN_IF_ERROR(context.scratch(l.bytes(step * l.hidden), &hidden));
  if (!stores && l.gated) TILEWISE_RETURN_IF_ERROR(context.scratch(l.bytes(step * l.width), &preactivation));
  for (int64_t first = 0; first < l.rows; first += step) {
    const int64_t rows = std::min(step, l.rows - first);
    void* h = hidden ? hidden : l.at(a.preactivation, first * l.width);
    void* p = stores ? l.at(a.preactivation, first * l.width) : l.gated ? preactivation : h;
    Epilogue e;
    if (a.bias1) e.bias = a.bias1.data, e.bias_dtype = a.bias1.dtype;
    if (l.fuses()) {
      e.activation = l.activation;
      if (p != h) e.pre_activation = {p, l.dtype, l.width};
    }
    const Gemm first_product = product(l, rows, l.width, l.in, true);
    TILEWISE_RETURN_IF_ERROR(gemm(first_product, l.at(a.x, first * l.in), a.weight1.data, l.fuses() ? h : p, e));
    if (!l.fuses()) TILEWISE_RETURN_IF_ERROR(make_hidden(l, first, rows, p, h));
    Epilogue last;
    if (a.bias2) last.bias = a.bias2.data, last.bias_dtype = a.bias2.dtype;
    TILEWISE_RETURN_IF_ERROR(gemm(product(l, rows, l.out, l.hidden, true), h, a.weight2.data, l.at(a.y, first * l.out), last));
  }
  return Status::ok();
}

Status feed_forward_backward(Context& context, const feed_forward_backward_args& a) {
  const Layer l(a);
  constexpr int64_t kRows = 4096;  // bounds the scratch; the weights' gradients are read and written once a step
  const int64_t step = std::min(kRows, l.rows);
  const auto floats = [](const View& view) { return view ? view.as<float>() : nullptr; };
  void *hidden = nullptr, *dhidden = nullptr, *dpreactivation = nullptr;
  if (!l.stores_hidden()) TILEWISE_RETURN_IF_ERROR(context.scratch(l.bytes(step * l.hidden), &hidden));
  TILEWISE_RETURN_IF_ERROR(context.scratch(l.bytes(step * l.width), &dpreactivation));
  if (l.gated) TILEWISE_RETURN_IF_ERROR(context.scratch(l.bytes(step * l.hidden), &dhidden));
  for (int64_t first = 0; first < l.rows; first += step) {
    const int64_t rows = std::min(step, l.rows - first);
    const void* p = l.at(a.preactivation, first * l.width);
    const void* dy = l.at(a.dy, first * l.out);
    void* dh = l.gated ? dhidden : dpreactivation;
    Epilogue e;
    if (l.fuses()) {
      e.activation = l.activation;
      e.gradient_at = {p, l.dtype, l.width};
    }
    TILEWISE_RETURN_IF_ERROR(gemm(product(l, rows, l.hidden, l.out, false), dy, a.weight2.data, dh, e));
    if (!l.fuses())
      TILEWISE_RETURN_IF_ERROR(make_hidden_and_gradient(l, first, rows, p, dh, hidden, dpreactivation));
    else if (hidden && a.dweight2)
      TILEWISE_RETURN_IF_ERROR(make_hidden(l, first, rows, p, hidden));

    LinearShape s;
    s.rows = rows, s.in = l.hidden, s.out = s.ld_dy = l.out;
    s.dtype = l.dtype;
    TILEWISE_RETURN_IF_ERROR(
        linear_gradient(context, s, dy, hidden ? hidden : p, a.weight2.data, nullptr, floats(a.dweight2), floats(a.dbias2)));
    s.in = l.in, s.out = s.ld_dy = l.width;
    TILEWISE_RETURN_IF_ERROR(linear_gradient(context, s, dpreactivation, l.at(a.x, first * l.in), a.weight1.data, l.at(a.dx, first * l.in),
                                             floats(a.dweight1), floats(a.dbias1)));
  }
  return Status::ok();
}

}  // namespace tilewise::cpu::TILEWISE_ISA
