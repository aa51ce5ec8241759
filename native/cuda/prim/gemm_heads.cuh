// What follows the product of queries, keys and values where heads turn or rows go to a cache, four columns of a row at a time: GemmHeads
// in
// ../gemm.h says what. The column that each turns with comes from the staged tile, or from the parts of the sum.
#pragma once
#include "../gemm.h"
#include "groups.cuh"
#include "row_index.cuh"

namespace tilewise::TILEWISE_GPU {

// Which columns those of a group turn with.
enum class Turns {
  none,
  inside,     // each with its neighbour: (0, 1), (2, 3)
  by_groups,  // with the four that begin at partner[0]
  apart,      // each with its own
};

// For a group of columns that a thread takes down the rows.
template <class T>
class HeadsFinish {
  const GemmEpilogue& e;
  const int column;    // the first
  int pair[kGroup];    // of its head, for columns that turn
  float sign[kGroup];  // of the partner's share
  float bias[kGroup], partner_bias[kGroup];

 public:
  Turns turns = Turns::none;
  int partner[kGroup];  // the column that each turns with, or -1

  __device__ __forceinline__ HeadsFinish(const GemmEpilogue& epilogue, int64_t, int first) : e(epilogue), column(first) {
    const Rotary& r = e.heads.rotary;
    int within = column % r.head;
#pragma unroll
    for (int i = 0; i < kGroup; ++i) {
      partner[i] = -1, pair[i] = 0, sign[i] = 0.0f;
      if (column + i < r.columns && within < 2 * r.pairs) {
        const bool second = r.interleaved ? within & 1 : within >= r.pairs;
        const int step = r.interleaved ? 1 : r.pairs;
        partner[i] = column + i + (second ? -step : step);
        pair[i] = r.interleaved ? within / 2 : second ? within - step : within;
        sign[i] = second ? 1.0f : -1.0f;
        turns = Turns::apart;
      }
      if (++within == r.head) within = 0;
      bias[i] = column + i < e.columns ? bias_at(column + i) : 0.0f;
      partner_bias[i] = partner[i] >= 0 ? bias_at(partner[i]) : 0.0f;
    }
    if (turns == Turns::apart && r.interleaved && r.head % 2 == 0) turns = Turns::inside;
    if (turns == Turns::apart && e.heads.groups) turns = Turns::by_groups;
  }

  // Cosines, sines with their signs, and the row that cached outputs get, as bare words, so that a kernel can ask for those of several rows
  // before it needs the first.
  static constexpr int kReadWords = 2 * kGroup + 1;
  struct Read {
    uint32_t word[kReadWords];
  };

  __device__ __forceinline__ Read read(int64_t row) const {
    const GemmHeads& h = e.heads;
    const Rotary& r = h.rotary;
    float cosine[kGroup] = {1.0f, 1.0f, 1.0f, 1.0f}, sine[kGroup] = {};
    if (turns != Turns::none) {
      const RowIndex ids{r.ids, r.period, r.positions, h.fault, 0};
      const int64_t position = r.ids ? ids(row) : ids.place(row);
      const float *cosines = r.cosines + position * r.pairs, *sines = r.sines + position * r.pairs;
      if (position >= 0 && turns == Turns::inside && h.groups) {
        const auto c = load_constant<2>(cosines + pair[0]), s = load_constant<2>(sines + pair[0]);
#pragma unroll
        for (int i = 0; i < kGroup; ++i) cosine[i] = c[i / 2], sine[i] = s[i / 2];
      } else if (position >= 0 && turns == Turns::by_groups) {
        const auto c = load_constant<kGroup>(cosines + pair[0]), s = load_constant<kGroup>(sines + pair[0]);
#pragma unroll
        for (int i = 0; i < kGroup; ++i) cosine[i] = c[i], sine[i] = s[i];
      } else if (position >= 0) {
#pragma unroll
        for (int i = 0; i < kGroup; ++i)
          if (partner[i] >= 0) cosine[i] = load_constant(cosines + pair[i])[0], sine[i] = load_constant(sines + pair[i])[0];
      }
    }
    Read out;
#pragma unroll
    for (int i = 0; i < kGroup; ++i) {
      out.word[i] = __float_as_uint(cosine[i]);
      out.word[kGroup + i] = __float_as_uint(sign[i] * sine[i]);
    }
    out.word[2 * kGroup] = h.slots ? static_cast<uint32_t>(slot_of(row)) : 0;
    return out;
  }

  // v: the product's columns; other: what the columns at `partner` hold, unless they are inside the group, and 0 for a column that does not
  // turn.
  __device__ __forceinline__ void finish(int64_t row, float (&v)[kGroup], float (&other)[kGroup], const Read& read) const {
    if (turns == Turns::inside) {
#pragma unroll
      for (int i = 0; i < kGroup; ++i) other[i] = partner[i] < 0 ? 0.0f : v[i ^ 1];
    }
#pragma unroll
    for (int i = 0; i < kGroup; ++i) {
      v[i] += bias[i];
      if (turns != Turns::none)
        v[i] = v[i] * __uint_as_float(read.word[i]) + (other[i] + partner_bias[i]) * __uint_as_float(read.word[kGroup + i]);
    }
    store_output(row, static_cast<int32_t>(read.word[2 * kGroup]), v);
  }

 private:
  __device__ __forceinline__ float bias_at(int at) const {
    if (!e.bias) return 0.0f;
    return e.bias_f32 ? load_float(static_cast<const float*>(e.bias) + at) : load_float(static_cast<const T*>(e.bias) + at);
  }

  __device__ __forceinline__ int32_t slot_of(int64_t row) const {
    const int32_t slot = load_constant(e.heads.slots + row)[0];
    if (slot < e.heads.slot_rows) return slot;
    report_fault(e.heads.fault, 1, row, slot);
    return -1;
  }

  __device__ __forceinline__ void store_output(int64_t row, int32_t slot, const float (&v)[kGroup]) const {
    const int n = e.columns - column;
    int part = 0;
    if (e.output_count == 1 || e.vectors) {
      while (part + 1 < e.output_count && column >= e.outputs[part].end) ++part;
      const GemmOutput& o = e.outputs[part];
      const int64_t to = o.cached ? slot : row;
      if (to >= 0) store_group(static_cast<T*>(o.data) + to * o.ld + column - (part ? e.outputs[part - 1].end : 0), v, n, e.vectors);
      return;
    }
#pragma unroll
    for (int i = 0; i < kGroup; ++i) {  // outputs may meet inside the group
      if (i >= n) break;
      while (part + 1 < e.output_count && column + i >= e.outputs[part].end) ++part;
      const GemmOutput& o = e.outputs[part];
      const int64_t to = o.cached ? slot : row;
      if (to >= 0) store_float(static_cast<T*>(o.data) + to * o.ld + column + i - (part ? e.outputs[part - 1].end : 0), v[i]);
    }
  }
};

}  // namespace tilewise::TILEWISE_GPU
