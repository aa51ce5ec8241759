// The arguments of feed_forward and feed_forward_backward, as every device takes them apart.
#pragma once
#include "dtype.h"
#include "scalar.h"
#include "view.h"

namespace tilewise {

struct FeedForward {
  int64_t rows, in, out, hidden;
  int64_t width;  // of the first product: hidden, or gate and up
  DType dtype;
  Activation activation;
  bool gated;
  float dropout;
  uint64_t seed, counter;

  template <class Args>
  explicit FeedForward(const Args& a)
      : rows(a.x.rows()),
        in(a.x.last()),
        out(a.weight2.dims[0]),
        hidden(a.weight2.dims[1]),
        width(a.weight1.dims[0]),
        dtype(a.x.dtype),
        activation(static_cast<Activation>(a.activation)),
        gated(a.gated != 0),
        dropout(a.dropout),
        seed(a.seed),
        counter(a.counter) {}

  // relu(v) and v have one derivative, and relu(relu(v)) = relu(v): nothing but the hidden rows need be stored.
  bool stores_hidden() const { return !gated && dropout == 0 && activation == Activation::relu; }
  int64_t bytes(int64_t elements) const { return elements * static_cast<int64_t>(size_of(dtype)); }
  // The place `elements` into a tensor; null for an absent one.
  char* at(const View& view, int64_t elements) const { return view && view.data ? view.as<char>() + bytes(elements) : nullptr; }
};

}  // namespace tilewise
