// Attention of few queries to many keys, as in decoding: a row of scores a query, read once from keys as they lie. Rows of all heads that
// share a key head are computed together, and long sequences are cut, so that several threads can work on one.
#pragma once
#include "attention_problem.h"

namespace tilewise::cpu::TILEWISE_ISA::attention_tile {

constexpr int64_t kFewQueries = 4, kKeysOfPart = 2048;

// Sums of one query over one part of its keys: in units of log2, and values not divided by the sum yet.
struct Partial {
  float most, sum;
};

TILEWISE_INLINE float sum_lanes(Vec v) {
  float sum = 0;
  for (int i = 0; i < kLanes; ++i) sum += v[i];
  return sum;
}

// Where the rows of a block begin: a stride apart, or, of a paged cache, anywhere.
template <class T>
struct StridedRows {
  const T* first;
  int64_t stride;
  TILEWISE_INLINE const T* operator[](int64_t j) const { return first + j * stride; }
};
template <class T>
struct ListedRows {
  const T* const* rows;
  TILEWISE_INLINE const T* operator[](int64_t j) const { return rows[j]; }
};

// scores[j] = q . k_j for up to kLanes keys
template <class Keys>
TILEWISE_INLINE void dot_keys(const float* q, const Keys& k, int64_t keys, int64_t dim, float* scores) {
  Vec sums[kLanes];
  for (int j = 0; j < kLanes; ++j) {
    Vec sum{};
    if (j < keys)
      for (int64_t d = 0; d + kLanes <= dim; d += kLanes) sum += load(q + d) * load(k[j] + d);
    sums[j] = sum;
  }
  transpose(sums);
  Vec total = sums[0];
  for (int j = 1; j < kLanes; ++j) total += sums[j];
  store(scores, total);
  for (int64_t d = dim / kLanes * kLanes; d < dim; ++d)
    for (int64_t j = 0; j < keys; ++j) scores[j] += q[d] * static_cast<float>(k[j][d]);
}

// out = out * scale + sum over keys of weights[j] * v_j
template <class Values>
TILEWISE_INLINE void add_values(const float* weights, const Values& v, int64_t keys, int64_t dim, float scale, float* out) {
  int64_t d = 0;
  for (; d + 4 * kLanes <= dim; d += 4 * kLanes) {
    Vec sums[4];
    for (int c = 0; c < 4; ++c) sums[c] = load(out + d + c * kLanes) * scale;
    for (int64_t j = 0; j < keys; ++j)
      for (int c = 0; c < 4; ++c) sums[c] += weights[j] * load(v[j] + d + c * kLanes);
    for (int c = 0; c < 4; ++c) store(out + d + c * kLanes, sums[c]);
  }
  for (; d + kLanes <= dim; d += kLanes) {
    Vec sum = load(out + d) * scale;
    for (int64_t j = 0; j < keys; ++j) sum += weights[j] * load(v[j] + d);
    store(out + d, sum);
  }
  for (; d < dim; ++d) {
    float sum = out[d] * scale;
    for (int64_t j = 0; j < keys; ++j) sum += weights[j] * static_cast<float>(v[j][d]);
    out[d] = sum;
  }
}

struct Dropout {
  float p;
  uint64_t seed, counter;
};

// Rows (h in the group of kv_head, i) in that order; q: their scaled queries [rows][padded dim]; partials [rows], values [rows][padded].
template <class T>
inline void decode_part(const Problem& p, const Rows& v, const Sequence& s, int64_t kv_head, int64_t from, int64_t to,
                        const Dropout& dropout, const float* q, int64_t padded_dim, Partial* partials, float* values, int64_t padded) {
  const int64_t rows = p.group * s.queries;
  for (int64_t r = 0; r < rows; ++r) partials[r] = {-kInfinity, 0.0f};
  std::memset(values, 0, static_cast<size_t>(rows * padded) * sizeof(float));
  float scores[kKeys], mask[kKeys];
  const T *key_rows[kKeys], *value_rows[kKeys];
  Span found[2];
  const int spans = s.spans(p, 0, s.queries, from, to, found);
  for (int at = 0; at < spans; ++at) {
    for (int64_t key = found[at].begin; key < found[at].end; key += kKeys) {
      const int64_t n = std::min(kKeys, found[at].end - key);
      if (p.k.table) {
        for (int64_t j = 0; j < n; ++j) {
          key_rows[j] = p.k.at<const T>(s.b, key + j, kv_head);
          value_rows[j] = v.at<const T>(s.b, key + j, kv_head);
        }
      }
      for (int64_t r = 0; r < rows; ++r) {
        const int64_t head = kv_head * p.group + r / s.queries, i = r % s.queries;
        int64_t begin = 0, end = n;  // of the keys that this query sees
        if (!found[at].free) {
          begin = std::clamp<int64_t>(i + s.shift - p.left - key, 0, n);
          end = std::clamp<int64_t>(i + s.shift + p.right + 1 - key, begin, n);
        }
        if (begin == end) continue;
        for (int64_t j = begin; j < end; j += kLanes) {
          const int64_t keys = std::min<int64_t>(kLanes, end - j);
          if (p.k.table)
            dot_keys(q + r * padded_dim, ListedRows<T>{key_rows + j}, keys, p.q.dim, scores + (j - begin));
          else
            dot_keys(q + r * padded_dim, StridedRows<T>{p.k.at<const T>(s.b, key + j, kv_head), p.k.row_stride}, keys, p.q.dim,
                     scores + (j - begin));
        }
        const int64_t count = end - begin;
        if (!found[at].free && (p.bias.present || p.keep.present)) {
          const Block block = {s, head, i, 1, key + begin, count, kLanes, false};
          detail::mask_row(p, p.bias, p.keep, block, i, mask);
          for (int64_t j = 0; j < count; ++j) scores[j] = detail::is_hidden(mask[j]) ? -kInfinity : scores[j] + mask[j];
        }
        float most = partials[r].most;
        for (int64_t j = 0; j < count; ++j) most = scores[j] > most ? scores[j] : most;
        const float base = most == -kInfinity ? 0.0f : most;
        const float scale = exp2(splat(partials[r].most - base))[0];
        for (int64_t j = count; j < round_up(count, kLanes); ++j) scores[j] = -kInfinity;
        Vec sum{};
        for (int64_t j = 0; j < count; j += kLanes) {
          const Vec weight = exp2(load(scores + j) - base);
          sum += weight;
          store(scores + j, weight);
        }
        partials[r] = {most, partials[r].sum * scale + sum_lanes(sum)};
        if (dropout.p > 0.0f) {
          const uint64_t row = (static_cast<uint64_t>(s.b) * p.heads + head) * p.max_q + i;
          random::dropout_mask(dropout.seed, dropout.counter, row * p.max_k + key + begin, count, dropout.p, 1.0f / (1.0f - dropout.p),
                               mask);
          for (int64_t j = 0; j < count; ++j) scores[j] *= mask[j];
        }
        if (p.k.table)
          add_values(scores, ListedRows<T>{value_rows + begin}, count, v.dim, scale, values + r * padded);
        else
          add_values(scores, StridedRows<T>{v.at<const T>(s.b, key + begin, kv_head), v.row_stride}, count, v.dim, scale,
                     values + r * padded);
      }
    }
  }
}

// The parts of one row, in order. Returns its log-sum-exp in units of log2; values of the first part become those of the row.
inline Partial join_parts(const Partial* partials, float* values, int64_t parts, int64_t partial_stride, int64_t value_stride,
                          int64_t dim) {
  float most = -kInfinity;
  for (int64_t part = 0; part < parts; ++part) most = std::max(most, partials[part * partial_stride].most);
  const float base = most == -kInfinity ? 0.0f : most;
  float sum = 0;
  for (int64_t part = 0; part < parts; ++part) {
    const Partial& one = partials[part * partial_stride];
    const float scale = exp2(splat(one.most - base))[0];
    sum += one.sum * scale;
    const float* from = values + part * value_stride;
#pragma omp simd
    for (int64_t d = 0; d < dim; ++d) values[d] = part == 0 ? from[d] * scale : values[d] + from[d] * scale;
  }
  return {most, sum};
}

}  // namespace tilewise::cpu::TILEWISE_ISA::attention_tile
