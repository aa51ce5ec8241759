// The largest elements of each row and where they are. NaN counts as the largest, ties go to the lowest index, as in PyTorch.
#include <limits>

#include "../elementwise.h"

namespace tilewise::cpu::TILEWISE_ISA {
namespace {

template <class T>
using Wide = std::conditional_t<std::is_same_v<T, int32_t> || std::is_same_v<T, uint8_t>, int32_t, float>;

template <class T>
int32_t first_largest(const T* x, int64_t n) {
  using W = Wide<T>;
  W most = std::is_same_v<W, float> ? static_cast<W>(-std::numeric_limits<float>::infinity()) : std::numeric_limits<W>::min();
  int32_t has_nan = 0;
#pragma omp simd reduction(max : most) reduction(| : has_nan)
  for (int64_t i = 0; i < n; ++i) {
    const W value = static_cast<W>(x[i]);
    most = value > most ? value : most;
    has_nan |= value != value;
  }
  int64_t at = 0;
  if (has_nan)
    while (static_cast<W>(x[at]) == static_cast<W>(x[at])) ++at;
  else
    while (static_cast<W>(x[at]) != most) ++at;
  return static_cast<int32_t>(at);
}

// Orders as the float does, NaN above all, -0 equal to 0.
inline uint32_t order_key(float value) {
  if (value != value) return 0xffffffffu;
  if (value == 0.0f) value = 0.0f;
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// The k largest of n, descending, as keys whose lower half is the inverted index: one comparison orders by value, then by index.
// `best` has room for k keys. Insertion into a sorted list: few elements of a long row get past the smallest of the k.
template <class T>
void select_by_insertion(const T* x, int64_t n, int64_t k, uint64_t* best) {
  constexpr int64_t kBlock = 64;
  int64_t size = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (size == k && i % kBlock == 0 && i + kBlock <= n) {
      // Whole blocks that hold nothing above the smallest of the k are passed over. NaN is above everything.
      const float least = static_cast<float>(x[0xffffffffu - static_cast<uint32_t>(best[k - 1])]);
      int32_t above = 0;
#pragma omp simd reduction(| : above)
      for (int64_t j = 0; j < kBlock; ++j) above |= !(static_cast<float>(x[i + j]) <= least);
      if (!above) {
        i += kBlock - 1;
        continue;
      }
    }
    const uint64_t key = static_cast<uint64_t>(order_key(static_cast<float>(x[i]))) << 32 | (0xffffffffu - static_cast<uint32_t>(i));
    if (size == k && key < best[k - 1]) continue;
    int64_t at = size < k ? size++ : k - 1;
    for (; at > 0 && best[at - 1] < key; --at) best[at] = best[at - 1];
    best[at] = key;
  }
}

template <class T>
void select_by_partition(const T* x, int64_t n, int64_t k, uint64_t* keys) {
  for (int64_t i = 0; i < n; ++i)
    keys[i] = static_cast<uint64_t>(order_key(static_cast<float>(x[i]))) << 32 | (0xffffffffu - static_cast<uint32_t>(i));
  const auto descending = [](uint64_t a, uint64_t b) { return a > b; };
  if (k < n) std::nth_element(keys, keys + k, keys + n, descending);
  std::sort(keys, keys + k, descending);
}

}  // namespace

Status argmax(Context&, const argmax_args& a) {
  const int64_t n = a.x.last();
  return dispatch_dtype(a.x.dtype, [&](auto type) -> Status {
    using T = decltype(type);
    const T* x = a.x.as<T>();
    int32_t* index = a.index.as<int32_t>();
    parallel_for(a.x.rows(), std::max<int64_t>(1, 16384 / std::max<int64_t>(1, n)), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) index[row] = first_largest(x + row * n, n);
    });
    return Status::ok();
  });
}

Status top_k(Context& context, const top_k_args& a) {
  constexpr int64_t kMostInserted = 64;  // beyond, moving the list costs more than partitioning the row
  const int64_t n = a.x.last(), k = a.k, keys_a_thread = k <= kMostInserted ? k : n;
  void* memory = nullptr;
  TILEWISE_RETURN_IF_ERROR(context.scratch(static_cast<size_t>(omp_get_max_threads() * keys_a_thread) * sizeof(uint64_t), &memory));
  return dispatch_float(a.x.dtype, [&](auto type) {
    using T = decltype(type);
    const T* x = a.x.as<T>();
    T* values = a.values.as<T>();
    int32_t* index = a.index.as<int32_t>();
    parallel_for(a.x.rows(), std::max<int64_t>(1, 4096 / std::max<int64_t>(1, n)), [&](int64_t begin, int64_t end) {
      uint64_t* keys = static_cast<uint64_t*>(memory) + omp_get_thread_num() * keys_a_thread;
      for (int64_t row = begin; row < end; ++row) {
        const T* in = x + row * n;
        if (k <= kMostInserted)
          select_by_insertion(in, n, k, keys);
        else
          select_by_partition(in, n, k, keys);
        for (int64_t j = 0; j < k; ++j) {
          const auto at = static_cast<int32_t>(0xffffffffu - static_cast<uint32_t>(keys[j]));
          index[row * k + j] = at;
          values[row * k + j] = in[at];
        }
      }
    });
    return Status::ok();
  });
}

Status top_k_backward(Context&, const top_k_backward_args& a) {
  const int64_t n = a.dx.last(), k = a.dvalues.last();
  return dispatch_float(a.dx.dtype, [&](auto type) {
    using T = decltype(type);
    const T* dvalues = a.dvalues.as<T>();
    const int32_t* index = a.index.as<int32_t>();
    T* dx = a.dx.as<T>();
    parallel_for(a.dx.rows(), std::max<int64_t>(1, 16384 / std::max<int64_t>(1, n)), [&](int64_t begin, int64_t end) {
      std::fill(dx + begin * n, dx + end * n, T(0.0f));
      for (int64_t at = begin * k; at < end * k; ++at) dx[at / k * n + index[at]] = dvalues[at];
    });
    return Status::ok();
  });
}

}  // namespace tilewise::cpu::TILEWISE_ISA
