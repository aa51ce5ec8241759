// What the three attention ops share: where the sequences lie, which keys a query sees, and how scores are masked.
//
// Blocks of scores lie transposed, [keys][queries]: queries fill the vectors, so a softmax needs no sums across lanes, and keys and values
// enter the products as they lie in memory.
#pragma once
#include <algorithm>
#include <string>

#include <omp.h>

#include "../../core/index_error.h"
#include "../../core/random.h"
#include "attention_tile.h"

namespace tilewise::cpu::TILEWISE_ISA::attention_tile {

constexpr int64_t kQueries = 64, kKeys = 64;  // of a block

// A tensor of rows by heads: dense [B, T, H, D] or ragged [N, H, D] with offsets [B + 1]; or a cache, of which sequence b has `lengths[b]`
// rows: [B, capacity, H, D] or, with a block table, pages [pages, page size, H, D].
struct Rows {
  const View* view;
  const int32_t* offsets;            // null: dense
  const int32_t* lengths = nullptr;  // null: no cache
  const int32_t* table = nullptr;    // [B][width], null: no pages
  int64_t width = 0, page_size = 0;
  int64_t heads, dim, row_stride, head_stride;

  Rows(const View& v, const View* o) : view(&v), offsets(o && *o ? o->as<int32_t>() : nullptr) {
    const int rank = v.rank;
    heads = v.dims[rank - 2];
    dim = v.dims[rank - 1];
    row_stride = v.strides[rank - 3];
    head_stride = v.strides[rank - 2];
  }
  void read_cache(const View& cache_lengths, const View& block_table) {
    if (cache_lengths) lengths = cache_lengths.as<int32_t>();
    if (!block_table) return;
    table = block_table.as<int32_t>();
    width = block_table.dims[1];
    page_size = view->dims[1];
  }
  int64_t length(int64_t b) const { return lengths ? lengths[b] : offsets ? offsets[b + 1] - offsets[b] : view->dims[1]; }
  int64_t first(int64_t b) const { return offsets ? offsets[b] * row_stride : b * view->strides[0]; }
  // Row of sequence b in a contiguous [rows, …] tensor beside this one.
  int64_t row(int64_t b) const { return offsets ? offsets[b] : b * view->dims[1]; }
  template <class T>
  T* at(int64_t b, int64_t i, int64_t h) const {
    if (table) return view->as<T>() + table[b * width + i / page_size] * view->strides[0] + i % page_size * row_stride + h * head_stride;
    return view->as<T>() + first(b) + i * row_stride + h * head_stride;
  }
  // Of the n rows from i on, how many lie row_stride apart.
  int64_t run(int64_t i, int64_t n) const { return table ? std::min(n, page_size - i % page_size) : n; }
};

// Rows [i, i + n) of one head, widened, wherever they lie.
template <class T>
inline void load_rows_of(const Rows& x, int64_t b, int64_t i, int64_t n, int64_t h, int64_t padded, float* to) {
  for (int64_t done = 0; done < n;) {
    const int64_t run = x.run(i + done, n - done);
    load_rows(x.at<const T>(b, i + done, h), x.row_stride, run, run, x.dim, padded, 1.0f, to + done * padded);
    done += run;
  }
}

// keep or bias: strides over [B, H, Tq, Tk], 0 where its dimension is 1.
struct MaskView {
  int64_t strides[4] = {0, 0, 0, 0};
  bool present = false;

  explicit MaskView(const View& view) : present(view) {
    for (int i = 0; present && i < view.rank; ++i) {
      const int from = view.rank - 1 - i;
      strides[3 - i] = view.dims[from] == 1 ? 0 : view.strides[from];
    }
  }
  int64_t at(int64_t b, int64_t h, int64_t i, int64_t j) const { return b * strides[0] + h * strides[1] + i * strides[2] + j * strides[3]; }
};

// A run of keys that some query of a block may see.
struct Span {
  int64_t begin, end;
  bool free;  // the extra keys, which no mask reaches
};

struct Problem {
  Rows q, k;
  const int32_t* key_lengths;
  const View &keep_view, &bias_view;
  MaskView keep, bias;
  int64_t batch, heads, group, max_q, max_k, extra, left, right;
  float scale;

  template <class Args>
  explicit Problem(const Args& a)
      : q(a.q, &a.q_offsets),
        k(a.k, &a.k_offsets),
        key_lengths(a.key_lengths ? a.key_lengths.template as<int32_t>() : nullptr),
        keep_view(a.keep),
        bias_view(a.bias),
        keep(a.keep),
        bias(a.bias),
        batch(a.batch),
        heads(q.heads),
        group(k.heads > 0 ? q.heads / k.heads : 1),
        max_q(a.max_q),
        max_k(a.max_k),
        extra(a.extra_keys),
        scale(a.scale) {
    constexpr int64_t kOpen = int64_t{1} << 40;
    left = a.window_left < 0 ? kOpen : a.window_left;
    right = a.window_right < 0 ? kOpen : a.window_right;
    if (a.causal) right = 0;
  }

  // Offsets come from the device, so nobody has checked them yet.
  Status check(const char* op) const {
    const struct {
      const char* name;
      const Rows& rows;
      int64_t most;
    } sides[] = {{"q_offsets", q, max_q}, {"k_offsets", k, max_k}};
    for (const auto& [name, rows, most] : sides) {
      if (!rows.offsets) continue;
      int64_t before = 0;
      for (int64_t b = 0; b <= batch; ++b) {
        const int64_t at = rows.offsets[b];
        if (at < before || at > rows.view->dims[0] || (b > 0 && at - before > most))
          return Status::error(Code::invalid_argument, std::string("[") + op + "] " + name + " must rise from 0 to at most " +
                                                           std::to_string(rows.view->dims[0]) + " by at most " + std::to_string(most) +
                                                           ", holds " + std::to_string(at) + " after " + std::to_string(before));
        before = at;
      }
    }
    return Status::ok();
  }
};

// One sequence of the batch.
struct Sequence {
  int64_t b, queries, keys;
  int64_t masked_keys;  // keys before the extra ones
  int64_t shift;        // query i stands over key i + shift
  int64_t limit;        // keys from here to masked_keys are hidden by key_lengths

  Sequence(const Problem& p, int64_t index) : b(index), queries(p.q.length(index)), keys(p.k.length(index)) {
    masked_keys = std::max<int64_t>(0, keys - p.extra);
    shift = masked_keys - queries;
    limit = masked_keys;
    if (p.key_lengths) limit = std::clamp<int64_t>(p.key_lengths[index], 0, masked_keys);
  }

  // What the queries [begin, end) see, cut to the keys [from, to). Returns the number of spans.
  int spans(const Problem& p, int64_t begin, int64_t end, int64_t from, int64_t to, Span (&out)[2]) const {
    int count = 0;
    const int64_t first = std::max({from, int64_t{0}, begin + shift - p.left});
    const int64_t last = std::min({to, limit, end + shift + p.right});
    if (first < last) out[count++] = {first, last, false};
    const int64_t free = std::max(from, masked_keys), free_end = std::min(to, keys);
    if (free < free_end) out[count++] = {free, free_end, true};
    return count;
  }
  // How many pairs of query and key that is, roughly: what a task costs.
  int64_t cost(const Problem& p, int64_t begin, int64_t end, int64_t from, int64_t to) const {
    Span found[2];
    int64_t sum = 0;
    for (int i = spans(p, begin, end, from, to, found) - 1; i >= 0; --i) sum += found[i].end - found[i].begin;
    return (end - begin) * (sum + 16);
  }
};

// As many threads as there are tasks, and enough work for each: waking one costs as much as some hundred thousand products.
inline int thread_count(int64_t tasks, int64_t products) {
  constexpr int64_t kWorthAThread = 1 << 18;
  return static_cast<int>(std::clamp<int64_t>(std::min(tasks, products / kWorthAThread), 1, omp_get_max_threads()));
}

// A block of scores, transposed: key first_key + j, query first_query + i at scores[j * ld + i]; ld = round_up(queries, kLanes).
struct Block {
  const Sequence& sequence;
  int64_t head, first_query, queries, first_key, keys, ld;
  bool free;
};

// Room for one block's rows by query, and the same transposed.
struct MaskScratch {
  float* rows;     // [kQueries][kKeys]
  float* columns;  // [kKeys][kQueries]
  static constexpr int64_t kFloats = 2 * kQueries * kKeys;
};

namespace detail {

TILEWISE_INLINE bool is_hidden(float x) { return x == -kInfinity; }

// sum[i][j] += bias * log2(e), or -inf where keep is 0: for keys j of one query.
inline void mask_row(const Problem& p, const MaskView& bias, const MaskView& keep, const Block& block, int64_t i, float* sum) {
  const int64_t b = block.sequence.b, n = block.keys;
  for (int64_t j = 0; j < n; ++j) sum[j] = 0.0f;
  if (bias.present) {
    const float* from = p.bias_view.as<float>() + bias.at(b, block.head, i, block.first_key);
    if (bias.strides[3] == 1) {
#pragma omp simd
      for (int64_t j = 0; j < n; ++j) sum[j] = from[j] * kLog2E;
    } else {
      for (int64_t j = 0; j < n; ++j) sum[j] = from[j * bias.strides[3]] * kLog2E;
    }
  }
  if (keep.present) {
    const uint8_t* from = p.keep_view.as<uint8_t>() + keep.at(b, block.head, i, block.first_key);
    if (keep.strides[3] == 1) {
#pragma omp simd
      for (int64_t j = 0; j < n; ++j) sum[j] = from[j] ? sum[j] : -kInfinity;
    } else {
      for (int64_t j = 0; j < n; ++j) sum[j] = from[j * keep.strides[3]] ? sum[j] : -kInfinity;
    }
  }
}

inline void add_masks(const Problem& p, const Block& block, const MaskScratch& scratch, float* scores) {
  const int64_t ld = block.ld;
  if (p.bias.strides[2] == 0 && p.keep.strides[2] == 0) {  // one value a key
    mask_row(p, p.bias, p.keep, block, 0, scratch.rows);
    for (int64_t j = 0; j < block.keys; ++j) {
      float* row = scores + j * ld;
      const float value = scratch.rows[j];
      if (value == 0.0f) continue;
      for (int64_t i = 0; i < ld; i += kLanes) store(row + i, is_hidden(value) ? splat(-kInfinity) : load(row + i) + value);
    }
    return;
  }
  const int64_t columns = round_up(block.keys, kLanes);
  for (int64_t i = 0; i < block.queries; ++i) mask_row(p, p.bias, p.keep, block, block.first_query + i, scratch.rows + i * kKeys);
  transpose(scratch.rows, kKeys, ld, columns, scratch.columns, ld);
  for (int64_t j = 0; j < block.keys; ++j) {
    for (int64_t i = 0; i < ld; i += kLanes) {
      const Vec mask = load(scratch.columns + j * ld + i), score = load(scores + j * ld + i);
      store(scores + j * ld + i, mask == -kInfinity ? mask : score + mask);
    }
  }
}

// -inf beyond the causal edge and the window's.
inline void cut_edges(const Problem& p, const Block& block, float* scores) {
  const int64_t shift = block.sequence.shift, ld = block.ld;
  const int64_t last_query = block.first_query + block.queries - 1, last_key = block.first_key + block.keys - 1;
  if (last_key <= block.first_query + shift + p.right && block.first_key >= last_query + shift - p.left) return;
  for (int64_t j = 0; j < block.keys; ++j) {
    const int64_t key = block.first_key + j;
    // Queries that see this key, counted within the block.
    const int64_t begin = std::clamp<int64_t>(key - shift - p.right - block.first_query, 0, ld);
    const int64_t end = std::clamp<int64_t>(key - shift + p.left - block.first_query + 1, 0, ld);
    float* row = scores + j * ld;
    for (int64_t i = 0; i < begin; ++i) row[i] = -kInfinity;
    for (int64_t i = end; i < ld; ++i) row[i] = -kInfinity;
  }
}

}  // namespace detail

// Bias and masks on scores that are in units of log2.
inline void mask_scores(const Problem& p, const Block& block, const MaskScratch& scratch, float* scores) {
  if (block.free) return;
  if (p.bias.present || p.keep.present) detail::add_masks(p, block, scratch, scores);
  detail::cut_edges(p, block, scores);
}

// 0 where dropout drops, 1 / (1 - p) elsewhere: scratch.columns in the block's layout.
inline void dropout_factors(const Problem& p, const Block& block, float dropout, uint64_t seed, uint64_t counter,
                            const MaskScratch& scratch) {
  const uint64_t row = (static_cast<uint64_t>(block.sequence.b) * p.heads + block.head) * p.max_q + block.first_query;
  const float kept = 1.0f / (1.0f - dropout);
  for (int64_t i = 0; i < block.queries; ++i)
    random::dropout_mask(seed, counter, (row + i) * p.max_k + block.first_key, block.keys, dropout, kept, scratch.rows + i * kKeys);
  transpose(scratch.rows, kKeys, block.ld, round_up(block.keys, kLanes), scratch.columns, block.ld);
}

}  // namespace tilewise::cpu::TILEWISE_ISA::attention_tile
