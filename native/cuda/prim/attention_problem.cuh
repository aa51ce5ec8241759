// What the attention kernels share: where the sequences lie, which keys a query sees, how scores are masked, what dropout drops.
//
// Query rows are packed: row r of a key head stands for query r / group and the head's query head r % group. Query heads that share a key
// head so share its tiles, in prefill as in decoding, and rows of a tile are still in order of their positions.
#pragma once
#include "../../core/random.h"
#include "../ptx/convert.cuh"
#include "row_index.cuh"

namespace tilewise::TILEWISE_GPU::attention_tile {

constexpr float kLog2E = 1.44269504088896341f, kLn2 = 0.693147180559945309f;

// Rows of one head, or of the query heads of a key head, of one sequence.
template <class T>
struct HeadRows {
  T* base;
  int64_t row_stride, head_stride;
  int group;
  bool vectors;  // whether rows start at multiples of 16 bytes

  __device__ __forceinline__ T* at(int row) const {
    const int i = group == 1 ? row : row / group;
    return base + i * row_stride + (row - i * group) * head_stride;
  }
  __device__ __forceinline__ bool has(int) const { return true; }
};

// keep or bias: strides over [B, H, Tq, Tk], 0 where its dimension is 1.
template <class T>
struct MaskTensor {
  const T* data = nullptr;
  int64_t strides[4] = {0, 0, 0, 0};

  explicit MaskTensor(const View& view) {
    if (!view) return;
    data = view.as<const T>();
    for (int i = 0; i < view.rank; ++i) {
      const int from = view.rank - 1 - i;
      strides[3 - i] = view.dims[from] == 1 ? 0 : view.strides[from];
    }
  }
  __device__ __forceinline__ const T* row(int b, int head, int i) const {
    return data + b * strides[0] + head * strides[1] + i * strides[2];
  }
};

struct AttentionProblem {
  const int32_t *q_offsets, *k_offsets, *key_lengths;
  int q_rows, k_rows;  // ragged: of all sequences; dense: of one
  int batch, heads, kv_heads, group, max_q, max_k, extra, left, right, dim;
  float scale, scale_log2;
  bool tf32;  // f32 products may round their factors to tf32
  MaskTensor<float> bias;
  MaskTensor<uint8_t> keep;

  static constexpr int64_t kOpen = 1 << 29;

  template <class Args>
  AttentionProblem(const Gpu& gpu, const Args& a)
      : q_offsets(a.q_offsets ? a.q_offsets.template as<const int32_t>() : nullptr),
        k_offsets(a.k_offsets ? a.k_offsets.template as<const int32_t>() : nullptr),
        key_lengths(a.key_lengths ? a.key_lengths.template as<const int32_t>() : nullptr),
        q_rows(static_cast<int>(a.q.dims[a.q.rank - 3])),
        k_rows(static_cast<int>(a.k.dims[a.k.rank - 3])),
        batch(a.batch),
        heads(static_cast<int>(a.q.dims[a.q.rank - 2])),
        kv_heads(static_cast<int>(a.k.dims[a.k.rank - 2])),
        group(kv_heads > 0 ? heads / kv_heads : 1),
        max_q(a.max_q),
        max_k(a.max_k),
        extra(a.extra_keys),
        left(side(a.window_left)),
        right(a.causal ? 0 : side(a.window_right)),
        dim(static_cast<int>(a.q.last())),
        scale(a.scale),
        scale_log2(a.scale * kLog2E),
        tf32(gpu.tf32),
        bias(a.bias),
        keep(a.keep) {}

  // Of a packed row.
  __device__ __forceinline__ int query_of(int row) const { return group == 1 ? row : row / group; }

  bool fits() const { return int64_t{max_q} * group < kOpen && max_k < kOpen; }

 private:
  static int side(int64_t window) { return static_cast<int>(window < 0 || window > kOpen ? kOpen : window); }
};

// Keys and values that lie in caches: cache_lengths says how many of them exist, the block table in which pages they lie.
struct AttentionCache {
  const int32_t *lengths, *table;  // either may be null: no cache, or one that is not paged
  int width, page_size, pages;     // of the table's rows, of a page, of all sequences
  DeviceFault* fault;

  AttentionCache(const Gpu& gpu, const attention_args& a)
      : lengths(a.cache_lengths ? a.cache_lengths.as<const int32_t>() : nullptr),
        table(a.block_table ? a.block_table.as<const int32_t>() : nullptr),
        width(a.block_table ? static_cast<int>(a.block_table.dims[1]) : 0),
        page_size(a.block_table ? static_cast<int>(a.k.dims[1]) : 1),
        pages(a.block_table ? static_cast<int>(a.k.dims[0]) : 0),
        fault(gpu.fault) {}
  __device__ __forceinline__ bool has(int32_t page) const { return page >= 0 && page < pages; }
};

// One sequence of the batch. Offsets come from the device and no one has looked at them: they are cut to what lies in memory.
struct AttentionSequence {
  int b, queries, keys;
  int first_q, first_k;  // ragged: rows of the sequences before this one
  int masked_keys;       // keys before the extra ones
  int shift;             // query i stands over key i + shift
  int limit;             // keys from here to masked_keys are hidden by key_lengths

  AttentionSequence() = default;  // of an array in shared memory
  __device__ __forceinline__ AttentionSequence(const AttentionProblem& p, int index) : b(index) {
    find(p.q_offsets, p.q_rows, p.max_q, first_q, queries);
    find(p.k_offsets, p.k_rows, p.max_k, first_k, keys);
    align(p);
  }
  __device__ __forceinline__ AttentionSequence(const AttentionProblem& p, const AttentionCache& cache, int index) : b(index) {
    find(p.q_offsets, p.q_rows, p.max_q, first_q, queries);
    find(p.k_offsets, p.k_rows, p.max_k, first_k, keys);
    if (cache.lengths) {
      const int length = cache.lengths[b];
      keys = min(max(length, 0), p.max_k);
      if (keys != length && threadIdx.x == 0) report_fault(cache.fault, 0, b, length);
    }
    align(p);
  }
  // Of query i in a contiguous [rows, …] tensor beside q.
  __device__ __forceinline__ int64_t query_row(const AttentionProblem& p, int i) const {
    return (p.q_offsets ? int64_t{first_q} : int64_t{b} * p.q_rows) + i;
  }

 private:
  __device__ __forceinline__ void align(const AttentionProblem& p) {
    masked_keys = max(0, keys - p.extra);
    shift = masked_keys - queries;
    limit = p.key_lengths ? min(max(p.key_lengths[b], 0), masked_keys) : masked_keys;
  }
  __device__ __forceinline__ void find(const int32_t* offsets, int rows, int most, int& first, int& length) const {
    first = offsets ? min(max(offsets[b], 0), rows) : 0;
    length = offsets ? min(max(offsets[b + 1] - first, 0), min(most, rows - first)) : rows;
  }
};

// A tensor of rows by heads: dense [B, T, H, D] or ragged [N, H, D].
struct AttentionTensor {
  void* data;
  int64_t batch_stride, row_stride, head_stride;
  int dim;
  bool vectors;

  explicit AttentionTensor(const View& v) : data(v.data), dim(static_cast<int>(v.last())) {
    const auto stride = [&](int from_end) {
      return v.rank < from_end || v.dims[v.rank - from_end] <= 1 ? 0 : v.strides[v.rank - from_end];
    };
    batch_stride = stride(4);
    row_stride = stride(3);
    head_stride = stride(2);
    const int64_t per = 16 / static_cast<int64_t>(size_of(v.dtype));
    vectors = aligned16(data) && batch_stride % per == 0 && row_stride % per == 0 && head_stride % per == 0;
  }
  // The heads [head, head + group) of the sequence whose first row is `first`.
  template <class T>
  __device__ __forceinline__ HeadRows<T> of(int b, int first, int head, int group) const {
    return {static_cast<T*>(data) + b * batch_stride + first * row_stride + head * head_stride, row_stride, head_stride, group, vectors};
  }
};

// The keys that a range of queries may see, as tiles of kKeys: first those that masks reach, then the extra keys.
template <int kKeys>
struct KeyTiles {
  int begin, end, free_begin, free_end, masked_tiles, count;

  KeyTiles() = default;  // of an array in shared memory
  // Queries [query_begin, query_end), cut to the keys [from, to).
  __device__ __forceinline__ KeyTiles(const AttentionProblem& p, const AttentionSequence& s, int query_begin, int query_end, int from,
                                      int to) {
    begin = max(from, query_begin + s.shift - p.left);
    end = query_begin < query_end ? min(min(to, s.limit), query_end + s.shift + p.right) : begin;
    free_begin = max(from, s.masked_keys);
    free_end = query_begin < query_end ? min(to, s.keys) : free_begin;
    masked_tiles = (max(0, end - begin) + kKeys - 1) / kKeys;
    count = masked_tiles + (max(0, free_end - free_begin) + kKeys - 1) / kKeys;
  }
  __device__ __forceinline__ bool is_free(int tile) const { return tile >= masked_tiles; }
  __device__ __forceinline__ int first(int tile) const {
    return is_free(tile) ? free_begin + (tile - masked_tiles) * kKeys : begin + tile * kKeys;
  }
  __device__ __forceinline__ int last(int tile) const { return is_free(tile) ? free_end : end; }
  // Whether some query of [query_begin, query_end) must not see some key of the tile, or its score has a bias.
  __device__ __forceinline__ bool is_masked(const AttentionProblem& p, const AttentionSequence& s, int tile, int query_begin,
                                            int query_end) const {
    const int key = first(tile);
    if (key + kKeys > last(tile)) return true;
    if (is_free(tile)) return false;
    return p.bias.data || p.keep.data || key + kKeys - 1 > query_begin + s.shift + p.right || key < query_end - 1 + s.shift - p.left;
  }
};

// What masks need to know of a query.
struct MaskRow {
  int low, high;  // it sees keys [low, high) but for keep and bias
  const float* bias;
  const uint8_t* keep;

  __device__ __forceinline__ MaskRow(const AttentionProblem& p, const AttentionSequence& s, int i, int head)
      : low(i + s.shift - p.left),
        high(min(s.limit, i + s.shift + p.right + 1)),
        bias(p.bias.data ? p.bias.row(s.b, head, i) : nullptr),
        keep(p.keep.data ? p.keep.row(s.b, head, i) : nullptr) {}

  // A score in units of log2, with its bias; -inf where the query does not see the key.
  __device__ __forceinline__ float apply(const AttentionProblem& p, const AttentionSequence& s, int key, float score) const {
    if (key >= s.masked_keys) return key < s.keys ? score : -INFINITY;
    if (key < low || key >= high) return -INFINITY;
    if (bias) {
      const float add = load_float(bias + key * p.bias.strides[3]);
      score = add == -INFINITY ? add : score + add * kLog2E;
    }
    if (keep && load(keep + key * p.keep.strides[3])[0] == 0) return -INFINITY;
    return score;
  }
};

struct AttentionDropout {
  float probability, factor;  // of what is kept
  uint64_t seed, counter;

  AttentionDropout(float probability, uint64_t seed, uint64_t counter)
      : probability(probability), factor(probability > 0.0f ? 1.0f / (1.0f - probability) : 1.0f), seed(seed), counter(counter) {}

  // Element of [B, H, max_q, max_k], for key 0.
  static __device__ __forceinline__ uint64_t row(const AttentionProblem& p, int b, int head, int i) {
    return ((static_cast<uint64_t>(b) * p.heads + head) * p.max_q + i) * p.max_k;
  }
  __device__ __forceinline__ bool keeps(const random::Words4& words, uint64_t element) const {
    const int at = static_cast<int>(element & 3);
    const uint32_t low = at & 1 ? words.lane[1] : words.lane[0], high = at & 1 ? words.lane[3] : words.lane[2];
    return random::keep(at & 2 ? high : low, probability);
  }
  __device__ __forceinline__ bool keeps(uint64_t element) const { return keeps(random::philox4x32(seed, counter, element >> 2), element); }
  // Of a weight whose sign says that it is dropped.
  __device__ __forceinline__ float of_signed(float weight) const { return __float_as_uint(weight) >> 31 ? 0.0f : factor; }
  // Of two neighbours: whether the first is kept, and twice that of the second. One block of random words serves both unless it ends
  // between them.
  __device__ __forceinline__ uint32_t kept_pair(uint64_t element) const {
    random::Words4 words = random::philox4x32(seed, counter, element >> 2);
    const uint32_t first = keeps(words, element);
    if ((element & 3) == 3) words = random::philox4x32(seed, counter, (element + 1) >> 2);
    return first | static_cast<uint32_t>(keeps(words, element + 1)) << 1;
  }
  // Factors of two neighbours.
  __device__ __forceinline__ void pair(uint64_t element, float (&factors)[2]) const {
    const uint32_t kept = kept_pair(element);
    factors[0] = kept & 1 ? factor : 0.0f;
    factors[1] = kept & 2 ? factor : 0.0f;
  }
};

}  // namespace tilewise::TILEWISE_GPU::attention_tile
