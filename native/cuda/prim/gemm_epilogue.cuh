// What follows a product, four columns of a row at a time: GemmEpilogue in ../gemm.h says what. The switches are the kernel's arguments;
// which of them a kernel knows at all is a template argument, so that a product that only accumulates carries no activations.
#pragma once
#include "../../core/random.h"
#include "../gemm.h"
#include "groups.cuh"

namespace tilewise::TILEWISE_GPU {

// Sets of features, to be joined by |.
constexpr int kForward = 1, kDerivative = 2, kAccumulate = 4;
// What GemmHeads asks for, by itself: gemm_heads.cuh.
constexpr int kHeads = 8;

// The factors of dropout for four elements from `element` on: 1 / (1 - p), or 0 with `kept` false.
struct DropoutGroup {
  bool kept[kGroup];
  float scale;

  __device__ __forceinline__ DropoutGroup(const GemmEpilogue& e, uint64_t element) {
    scale = e.dropout < 1.0f ? 1.0f / (1.0f - e.dropout) : 0.0f;
    const random::Words4 first = random::philox4x32(e.seed, e.counter, element >> 2);
    uint32_t w[kGroup] = {first.lane[0], first.lane[1], first.lane[2], first.lane[3]};
    if (const int skip = static_cast<int>(element & 3)) {
      const random::Words4 next = random::philox4x32(e.seed, e.counter, (element >> 2) + 1);
      if (skip == 1)
        w[0] = w[1], w[1] = w[2], w[2] = w[3], w[3] = next.lane[0];
      else if (skip == 2)
        w[0] = w[2], w[1] = w[3], w[2] = next.lane[0], w[3] = next.lane[1];
      else
        w[0] = w[3], w[1] = next.lane[0], w[2] = next.lane[1], w[3] = next.lane[2];
    }
#pragma unroll
    for (int i = 0; i < kGroup; ++i) kept[i] = random::keep(w[i], e.dropout);
  }
  __device__ __forceinline__ void apply(float (&v)[kGroup]) const {
#pragma unroll
    for (int i = 0; i < kGroup; ++i) v[i] = random::value_if(kept[i], scale * v[i]);
  }
};

// For a group of columns that a thread takes down the rows.
template <class T, int features>
class GemmFinish {
  const GemmEpilogue& e;
  const int64_t batch;
  const int column;  // the first

 public:
  __device__ __forceinline__ GemmFinish(const GemmEpilogue& epilogue, int64_t batch_index, int first)
      : e(epilogue), batch(batch_index), column(first) {}

  // What is read beside a group, as bare words, so that a kernel can ask for those of several rows before it needs the first.
  static constexpr int kReadWords = features & kDerivative                                                 ? 2 * static_cast<int>(sizeof(T))
                                    : (features & kForward && sizeof(T) == 2) && !(features & kAccumulate) ? 2
                                                                                                           : 4;
  struct Read {
    uint32_t word[kReadWords];
  };

  __device__ __forceinline__ Read read(int64_t row) const {
    Read out{};
    const int n = e.columns - column;
    if constexpr (bool(features & kAccumulate)) {
      if (e.accumulate) {
        const GemmOutput& o = e.outputs[0];
        const auto sums = load_group(static_cast<const float*>(o.data) + batch * e.batch_stride + row * o.ld + column, n, e.vectors);
        memcpy(out.word, &sums, sizeof sums);
      }
    }
    if constexpr (bool(features & kForward)) {
      if (e.residual.data) {
        const auto residual = load_group(static_cast<const T*>(e.residual.data) + row * e.residual.ld + column, n, e.vectors);
        memcpy(out.word, &residual, sizeof residual);
      }
    }
    if constexpr (bool(features & kDerivative)) {
      if (e.at.data) {
        const T* at = static_cast<const T*>(e.at.data) + row * e.at.ld + column;
        const auto gate = load_group(at, n, e.vectors);
        memcpy(out.word, &gate, sizeof gate);
        if (e.gated) {
          const auto up = load_group(at + e.columns, n, e.vectors);
          memcpy(out.word + sizeof(T), &up, sizeof up);
        }
      }
    }
    return out;
  }

  // v: the product's columns; up: those of the other half, where the product is gated.
  __device__ __forceinline__ void finish(int64_t row, float (&v)[kGroup], float (&up)[kGroup], const Read& read) const {
    const int n = e.columns - column;
#pragma unroll
    for (int i = 0; i < kGroup; ++i) v[i] *= e.alpha;
    if constexpr (bool(features & kDerivative)) {
      if (e.at.data) {
        derivative(e, row, column, n, v, read);
        return;
      }
    }
    if constexpr (bool(features & kForward)) {
      if (e.bias) add_bias(e, column, n, v);
      if (e.gated) {
        if (e.bias) add_bias(e, e.columns + column, n, up);
        if (e.preactivation.data)
          store_group(static_cast<T*>(e.preactivation.data) + row * e.preactivation.ld + e.columns + column, up, n, e.vectors);
      }
      if (e.preactivation.data) store_group(static_cast<T*>(e.preactivation.data) + row * e.preactivation.ld + column, v, n, e.vectors);
      activate(e.activation, v);
      if (e.gated) {
#pragma unroll
        for (int i = 0; i < kGroup; ++i) v[i] *= up[i];
      }
      if (e.dropout > 0.0f) DropoutGroup(e, static_cast<uint64_t>(e.first_row + row) * e.columns + column).apply(v);
      if (e.residual.data) {
        const auto residual = group_of<T>(read.word);
#pragma unroll
        for (int i = 0; i < kGroup; ++i) v[i] += static_cast<float>(residual[i]);
      }
    }
    if constexpr (bool(features & kAccumulate)) {
      if (e.accumulate) {
        const auto sums = group_of<float>(read.word);
#pragma unroll
        for (int i = 0; i < kGroup; ++i) v[i] += sums[i];
      }
    }
    store_output(e, batch, row, column, n, v);
  }

 private:
  template <class V>
  static __device__ __forceinline__ Vec<V, kGroup> group_of(const uint32_t* words) {
    Vec<V, kGroup> out;
    memcpy(static_cast<void*>(&out), words, sizeof out);
    return out;
  }

  static __device__ __forceinline__ void add_bias(const GemmEpilogue& e, int column, int n, float (&v)[kGroup]) {
    if (e.bias_f32) {
      const auto bias = load_group(static_cast<const float*>(e.bias) + column, n, e.vectors);
#pragma unroll
      for (int i = 0; i < kGroup; ++i) v[i] += bias[i];
    } else {
      const auto bias = load_group(static_cast<const T*>(e.bias) + column, n, e.vectors);
#pragma unroll
      for (int i = 0; i < kGroup; ++i) v[i] += static_cast<float>(bias[i]);
    }
  }

  static __device__ __forceinline__ void derivative(const GemmEpilogue& e, int64_t row, int column, int n, float (&v)[kGroup],
                                                    const Read& read) {
    float x[kGroup], f[kGroup], df[kGroup];
    const auto at = group_of<T>(read.word);
#pragma unroll
    for (int i = 0; i < kGroup; ++i) x[i] = static_cast<float>(at[i]);
    derive(e.activation, x, f, df);
    T* output = static_cast<T*>(e.outputs[0].data) + row * e.outputs[0].ld + column;
    float hidden[kGroup];
    if (e.gated) {
      const auto up = group_of<T>(read.word + sizeof(T));
      float dup[kGroup];
#pragma unroll
      for (int i = 0; i < kGroup; ++i) {
        const float u = static_cast<float>(up[i]);
        hidden[i] = f[i] * u;
        dup[i] = v[i] * f[i];
        v[i] *= u * df[i];
      }
      if (e.dropout > 0.0f) {
        const DropoutGroup dropout(e, static_cast<uint64_t>(e.first_row + row) * e.columns + column);
        dropout.apply(hidden);
        dropout.apply(dup);
        dropout.apply(v);
      }
      store_group(output + e.columns, dup, n, e.vectors);
    } else {
#pragma unroll
      for (int i = 0; i < kGroup; ++i) {
        hidden[i] = f[i];
        v[i] *= df[i];
      }
      if (e.dropout > 0.0f) {
        const DropoutGroup dropout(e, static_cast<uint64_t>(e.first_row + row) * e.columns + column);
        dropout.apply(hidden);
        dropout.apply(v);
      }
    }
    store_group(output, v, n, e.vectors);
    if (e.hidden.data) store_group(static_cast<T*>(e.hidden.data) + row * e.hidden.ld + column, hidden, n, e.vectors);
  }

  static __device__ __forceinline__ void store_output(const GemmEpilogue& e, int64_t batch, int64_t row, int column, int n,
                                                      const float (&v)[kGroup]) {
    if (e.output_count == 1 || e.vectors) {
      int part = 0;
      while (part + 1 < e.output_count && column >= e.outputs[part].end) ++part;
      const GemmOutput& o = e.outputs[part];
      const int64_t at = batch * e.batch_stride + row * o.ld + column - (part ? e.outputs[part - 1].end : 0);
      if (e.output_f32)
        store_group(static_cast<float*>(o.data) + at, v, n, e.vectors);
      else
        store_group(static_cast<T*>(o.data) + at, v, n, e.vectors);
      return;
    }
    if constexpr (bool(features & kForward)) {  // outputs may meet inside the group
      int part = 0;
#pragma unroll
      for (int i = 0; i < kGroup; ++i) {
        if (i >= n) break;
        while (part + 1 < e.output_count && column + i >= e.outputs[part].end) ++part;
        const GemmOutput& o = e.outputs[part];
        store_float(static_cast<T*>(o.data) + row * o.ld + column + i - (part ? e.outputs[part - 1].end : 0), v[i]);
      }
    }
  }
};

}  // namespace tilewise::TILEWISE_GPU
