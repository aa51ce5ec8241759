// The largest elements of each row and where they are. NaN counts as the largest, ties go to the lowest index, as in PyTorch. An element is
// compared as one integer, its value's order above its inverted index: no two are equal, so that no order of threads matters.
#include "../prim/dispatch.h"
#include "../prim/reduce.cuh"
#include "../prim/vector.cuh"

namespace tilewise::TILEWISE_GPU {
namespace {

// Orders as the element does: NaN above all, -0 equal to 0. kBits<T> bits.
template <class T>
constexpr int kBits = 8 * static_cast<int>(sizeof(T));
__device__ __forceinline__ uint32_t order_of(float value) {
  if (value != value) return 0xffffffffu;
  const uint32_t bits = __float_as_uint(value == 0.0f ? 0.0f : value);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
__device__ __forceinline__ uint32_t order_of_half(uint32_t bits, uint32_t infinity) {
  const uint32_t magnitude = bits & 0x7fffu;
  if (magnitude > infinity) return 0xffffu;
  return bits & 0x8000u && magnitude != 0 ? ~bits & 0xffffu : magnitude | 0x8000u;
}
__device__ __forceinline__ uint32_t order_of(bf16 value) { return order_of_half(value.bits, 0x7f80u); }
__device__ __forceinline__ uint32_t order_of(f16 value) { return order_of_half(value.bits, 0x7c00u); }
__device__ __forceinline__ uint32_t order_of(int32_t value) { return static_cast<uint32_t>(value) ^ 0x80000000u; }
__device__ __forceinline__ uint32_t order_of(uint8_t value) { return value; }

__device__ __forceinline__ uint64_t key_of(uint32_t order, int64_t at) { return uint64_t{order} << 32 | ~static_cast<uint32_t>(at); }
__device__ __forceinline__ int32_t index_of(uint64_t key) { return static_cast<int32_t>(~static_cast<uint32_t>(key)); }

// visit(i, row[i]) for the elements [begin, end) of a row that fall to this thread, i ascending; 16 bytes at a time, wherever the row
// begins.
template <class T, class Visit>
__device__ __forceinline__ void visit_row(const T* row, int64_t begin, int64_t end, int thread, int threads, Visit& visit) {
  constexpr int N = kVector<T>;
  const int past = static_cast<int>(reinterpret_cast<uintptr_t>(row + begin) % 16 / sizeof(T));
  const int64_t aligned = begin + (past ? N - past : 0), first = aligned < end ? aligned : end;
  if (begin + thread < first) visit(begin + thread, load(row + begin + thread)[0]);
  const int64_t last = first + (end - first) / N * N;
  for (int64_t i = first + int64_t{N} * thread; i < last; i += int64_t{N} * threads) {
    const Vec<T, N> values = load<N>(row + i);
#pragma unroll
    for (int j = 0; j < N; ++j) visit(i + j, values[j]);
  }
  if (last + thread < end) visit(last + thread, load(row + last + thread)[0]);
}

__device__ __forceinline__ uint64_t warp_largest(uint64_t key) {
#pragma unroll
  for (int lanes = kWarpSize / 2; lanes > 0; lanes /= 2) {
    const uint64_t other = __shfl_xor_sync(kFullMask, key, lanes);
    key = other > key ? other : key;
  }
  return key;
}

// --- argmax

struct Largest {
  uint32_t order = 0;
  int64_t at = -1;
  template <class T>
  __device__ __forceinline__ void operator()(int64_t i, T value) {
    const uint32_t mine = order_of(value);
    if (at >= 0 && mine <= order) return;
    order = mine;
    at = i;
  }
  __device__ __forceinline__ uint64_t key() const { return at < 0 ? 0 : key_of(order, at); }
};

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarpSize;

// A warp a row.
template <class T>
__global__ void __launch_bounds__(kThreads) argmax_warps(const T* x, int64_t rows, int64_t n, int32_t* index) {
  const int64_t row = int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarpSize;
  if (row >= rows) return;
  Largest largest;
  visit_row(x + row * n, 0, n, threadIdx.x % kWarpSize, kWarpSize, largest);
  const uint64_t key = warp_largest(largest.key());
  if (threadIdx.x % kWarpSize == 0) store(index + row, Vec<int32_t, 1>{index_of(key)});
}

// A block for each part of a row: parts gives the largest of each.
template <class T>
__global__ void __launch_bounds__(kThreads) argmax_blocks(const T* x, int64_t n, int64_t part, int32_t* index, uint64_t* parts) {
  SHARED_ARRAY(uint64_t, keys, kWarps);
  const int64_t begin = part * blockIdx.y, end = begin + part < n ? begin + part : n;
  Largest largest;
  visit_row(x + blockIdx.x * n, begin, end, threadIdx.x, kThreads, largest);
  uint64_t key = warp_largest(largest.key());
  if (threadIdx.x % kWarpSize == 0) keys[threadIdx.x / kWarpSize] = key;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int i = 1; i < kWarps; ++i) key = keys[i] > key ? keys[i] : key;
  if (parts)
    store(parts + int64_t{blockIdx.x} * gridDim.y + blockIdx.y, Vec<uint64_t, 1>{key});
  else
    store(index + blockIdx.x, Vec<int32_t, 1>{index_of(key)});
}

__global__ void __launch_bounds__(kThreads) argmax_join(const uint64_t* parts, int64_t rows, int count, int32_t* index) {
  const int64_t row = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (row >= rows) return;
  uint64_t key = 0;
  for (int i = 0; i < count; ++i) {
    const uint64_t other = load(parts + row * count + i)[0];
    key = other > key ? other : key;
  }
  store(index + row, Vec<int32_t, 1>{index_of(key)});
}

constexpr int64_t kWarpRow = 1024;  // rows up to this length are a warp's
constexpr int64_t kLeastPart = 4096;

template <class T>
Status run_argmax(Context& context, const argmax_args& a) {
  const Gpu& gpu = gpu_of(context);
  const T* x = a.x.as<const T>();
  int32_t* index = a.index.as<int32_t>();
  const int64_t rows = a.x.rows(), n = a.x.last();
  if (rows > 0x7fffffff) return unsupported("argmax of " + std::to_string(rows) + " rows");
  const auto blocks = [](int64_t count) { return dim3(static_cast<unsigned>(count)); };
  if (n <= kWarpRow)
    return launch(gpu, LaunchShape{"argmax_warps", blocks((rows + kWarps - 1) / kWarps), dim3(kThreads)}, argmax_warps<T>, x, rows, n,
                  index);
  // Few long rows: several blocks a row, so that all multiprocessors read.
  const int64_t wanted = rows > 0 ? (2 * gpu.multiprocessors + rows - 1) / rows : 1, most = (n + kLeastPart - 1) / kLeastPart;
  const int64_t part = ((n + (wanted < most ? wanted : most) - 1) / (wanted < most ? wanted : most) + 15) / 16 * 16;
  const int64_t count = (n + part - 1) / part;
  void* parts = nullptr;
  if (count > 1) TILEWISE_RETURN_IF_ERROR(context.scratch(sizeof(uint64_t) * static_cast<size_t>(rows * count), &parts));
  const LaunchShape shape{"argmax_blocks", dim3(static_cast<unsigned>(rows), static_cast<unsigned>(count)), dim3(kThreads)};
  TILEWISE_RETURN_IF_ERROR(launch(gpu, shape, argmax_blocks<T>, x, n, part, index, static_cast<uint64_t*>(parts)));
  if (count == 1) return Status::ok();
  return launch(gpu, LaunchShape{"argmax_join", blocks((rows + kThreads - 1) / kThreads), dim3(kThreads)}, argmax_join,
                static_cast<const uint64_t*>(parts), rows, static_cast<int>(count), index);
}

// --- the k largest of a short row: a warp takes the largest k times

constexpr int kKeysALane = 8;
constexpr int64_t kShortRow = kKeysALane * kWarpSize;

template <class T>
__global__ void __launch_bounds__(kThreads) top_k_warps(const T* x, int64_t rows, int n, int k, T* values, int32_t* index) {
  const int64_t row = int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarpSize;
  if (row >= rows) return;
  const int lane = threadIdx.x % kWarpSize;
  const T* const from = x + row * n;
  uint64_t keys[kKeysALane];  // 0: none, or taken
#pragma unroll
  for (int j = 0; j < kKeysALane; ++j) {
    const int at = j * kWarpSize + lane;
    keys[j] = at < n ? key_of(order_of(load(from + at)[0]), at) : 0;
  }
  int32_t mine = 0;  // what this lane will write
  for (int i = 0; i < k; ++i) {
    uint64_t largest = keys[0];
#pragma unroll
    for (int j = 1; j < kKeysALane; ++j) largest = keys[j] > largest ? keys[j] : largest;
    largest = warp_largest(largest);
#pragma unroll
    for (int j = 0; j < kKeysALane; ++j)
      if (keys[j] == largest) keys[j] = 0;
    if (i % kWarpSize == lane) mine = index_of(largest);
    const int first = i - i % kWarpSize;
    if ((i == k - 1 || i % kWarpSize == kWarpSize - 1) && first + lane < k) {
      store(index + row * k + first + lane, Vec<int32_t, 1>{mine});
      store(values + row * k + first + lane, load(from + mine));
    }
  }
}

// --- the k largest of a long row: a block finds a bound by its digits (radix selection) that few elements besides them reach, and sorts
// those

constexpr int kDigit = 11;  // bits
constexpr int kBins = 1 << kDigit;

// The elements whose leading bits are `prefix`, by their next digit.
struct CountDigits {
  uint32_t* bins;
  uint64_t prefix;
  int bits, shift;  // below the prefix; below the digit
  uint32_t mask;
  template <class T>
  __device__ __forceinline__ void operator()(int64_t i, T value) {
    const uint64_t key = key_of(order_of(value), i);
    if (key >> (bits - 1) >> 1 == prefix) atomicAdd(&bins[static_cast<uint32_t>(key >> shift) & mask], 1u);
  }
};

struct Gather {
  uint64_t* keys;
  uint32_t* count;
  uint64_t least;
  template <class T>
  __device__ __forceinline__ void operator()(int64_t i, T value) {
    const uint64_t key = key_of(order_of(value), i);
    if (key >= least) keys[atomicAdd(count, 1u)] = key;
  }
};

struct Digit {
  uint32_t value, above, count;  // elements with a larger digit, and with this one
};

// The largest digit that at least `need` elements reach. All threads call it after a barrier behind the counting.
__device__ __forceinline__ Digit digit_of(const uint32_t* bins, uint32_t need) {
  SHARED_ARRAY(uint32_t, totals, kWarpSize);
  SHARED_ARRAY(Digit, found, 1);
  const int thread = threadIdx.x, threads = blockDim.x, lane = thread % kWarpSize, warp = thread / kWarpSize;
  const int each = kBins / threads, top = kBins - 1 - thread * each;  // this thread's bins, downwards from `top`
  uint32_t sum = 0;
  for (int i = 0; i < each; ++i) sum += bins[top - i];
  uint32_t above = sum;
#pragma unroll
  for (int lanes = 1; lanes < kWarpSize; lanes *= 2) {
    const uint32_t other = __shfl_up_sync(kFullMask, above, lanes);
    if (lane >= lanes) above += other;
  }
  if (lane == kWarpSize - 1) totals[warp] = above;
  __syncthreads();
  above -= sum;
  for (int i = 0; i < warp; ++i) above += totals[i];
  if (above < need && need <= above + sum) {
    int i = 0;
    for (; above + bins[top - i] < need; ++i) above += bins[top - i];
    found[0] = Digit{static_cast<uint32_t>(top - i), above, bins[top - i]};
  }
  __syncthreads();
  return found[0];
}

// Descending; count is a power of two.
__device__ __forceinline__ void sort_keys(uint64_t* keys, int count) {
  for (int size = 2; size <= count; size *= 2) {
    for (int distance = size / 2; distance > 0; distance /= 2) {
      for (int i = threadIdx.x; i < count / 2; i += blockDim.x) {
        const int low = 2 * i - (i & (distance - 1)), high = low + distance;
        const uint64_t a = keys[low], b = keys[high];
        if ((a < b) == ((low & size) == 0)) {
          keys[low] = b;
          keys[high] = a;
        }
      }
      __syncthreads();
    }
  }
}

constexpr int kMostThreads = 1024;

// Blocks take rows in turn. candidates: how many keys to sort at most, at least k; they are kept in shared memory, or in `scratch`.
template <class T>
__global__ void __launch_bounds__(kMostThreads)
    top_k_blocks(const T* x, int64_t rows, int64_t n, int k, int candidates, uint64_t* scratch, T* values, int32_t* index) {
  uint32_t* const bins = dynamic_smem<uint32_t>();
  uint64_t* const keys = scratch ? scratch + int64_t{blockIdx.x} * candidates : reinterpret_cast<uint64_t*>(bins + kBins);
  SHARED_ARRAY(uint32_t, gathered, 1);
  const int thread = threadIdx.x, threads = blockDim.x;
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const T* const from = x + row * n;
    uint64_t least = 0, prefix = 0;
    int bits = kBits<T> + 32;
    int64_t count = n;  // elements from `least` on
    uint32_t need = static_cast<uint32_t>(k);
    while (count > candidates) {
      const int shift = bits > kDigit ? bits - kDigit : 0;
      for (int i = thread; i < kBins; i += threads) bins[i] = 0;
      __syncthreads();
      CountDigits visit{bins, prefix, bits, shift, (1u << (bits - shift)) - 1};
      visit_row(from, 0, n, thread, threads, visit);
      __syncthreads();
      const Digit digit = digit_of(bins, need);
      need -= digit.above;
      count = static_cast<int64_t>(k) - need + digit.count;
      prefix = prefix << (bits - shift) | digit.value;
      bits = shift;
      least = prefix << bits;
    }
    if (thread == 0) gathered[0] = 0;
    __syncthreads();
    Gather gather{keys, gathered, least};
    visit_row(from, 0, n, thread, threads, gather);
    int padded = 1;
    while (padded < count) padded *= 2;
    for (int i = static_cast<int>(count) + thread; i < padded; i += threads) keys[i] = 0;
    __syncthreads();
    sort_keys(keys, padded);
    for (int j = thread; j < k; j += threads) {
      const int32_t at = index_of(keys[j]);
      store(index + row * k + j, Vec<int32_t, 1>{at});
      store(values + row * k + j, load(from + at));
    }  // the next row's keys are written behind a barrier
  }
}

template <class T>
Status run_top_k(Context& context, const top_k_args& a) {
  const Gpu& gpu = gpu_of(context);
  const T* x = a.x.as<const T>();
  T* values = a.values.as<T>();
  int32_t* index = a.index.as<int32_t>();
  const int64_t rows = a.x.rows(), n = a.x.last();
  if (rows > 0x7fffffff) return unsupported("top_k of " + std::to_string(rows) + " rows");
  if (n <= kShortRow) {
    const LaunchShape shape{"top_k_warps", dim3(static_cast<unsigned>((rows + kWarps - 1) / kWarps)), dim3(kThreads)};
    return launch(gpu, shape, top_k_warps<T>, x, rows, static_cast<int>(n), a.k, values, index);
  }
  constexpr int kLeastCandidates = 512;
  int candidates = 1;
  while (candidates < a.k) candidates *= 2;
  if (candidates < kLeastCandidates) candidates = kLeastCandidates;
  constexpr size_t kBinBytes = kBins * sizeof(uint32_t), kStatic = 1024;
  const size_t key_bytes = sizeof(uint64_t) * static_cast<size_t>(candidates);
  const bool in_shared = kBinBytes + key_bytes + kStatic <= gpu.shared_per_block;
  const int64_t most_blocks = in_shared ? int64_t{16} * gpu.multiprocessors : gpu.multiprocessors;
  const int64_t blocks = rows < most_blocks ? rows : most_blocks;
  void* scratch = nullptr;
  if (!in_shared) TILEWISE_RETURN_IF_ERROR(context.scratch(key_bytes * static_cast<size_t>(blocks), &scratch));
  const LaunchShape shape{"top_k_blocks", dim3(static_cast<unsigned>(blocks)), dim3(n <= 8192 && a.k <= 512 ? kThreads : kMostThreads),
                          kBinBytes + (in_shared ? key_bytes : 0)};
  return launch(gpu, shape, top_k_blocks<T>, x, rows, n, a.k, candidates, static_cast<uint64_t*>(scratch), values, index);
}

// --- backward: dx is 0 but where an element was chosen

template <class T>
__global__ void __launch_bounds__(kThreads) scatter_rows_of(const T* dvalues, const int32_t* index, int64_t rows, int64_t n, int k, T* dx) {
  constexpr int N = kVector<T>;
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    T* const to = dx + row * n;
    const int past = static_cast<int>(reinterpret_cast<uintptr_t>(to) % 16 / sizeof(T));
    const int64_t aligned = past ? N - past : 0, first = aligned < n ? aligned : n, last = first + (n - first) / N * N;
    if (threadIdx.x < first) store(to + threadIdx.x, Vec<T, 1>{T(0.0f)});
    Vec<T, N> zeros;
#pragma unroll
    for (int i = 0; i < N; ++i) zeros[i] = T(0.0f);
    for (int64_t i = first + int64_t{N} * threadIdx.x; i < last; i += int64_t{N} * kThreads) store(to + i, zeros);
    if (last + threadIdx.x < n) store(to + last + threadIdx.x, Vec<T, 1>{T(0.0f)});
    __syncthreads();  // another thread zeroes where this one writes
    for (int j = threadIdx.x; j < k; j += kThreads) store(to + load(index + row * k + j)[0], load(dvalues + row * k + j));
  }
}

}  // namespace

Status argmax(Context& context, const argmax_args& a) {
  return dispatch_dtype(a.x.dtype, [&](auto type) { return run_argmax<decltype(type)>(context, a); });
}

Status top_k(Context& context, const top_k_args& a) {
  return dispatch_float(a.x.dtype, [&](auto type) { return run_top_k<decltype(type)>(context, a); });
}

Status top_k_backward(Context& context, const top_k_backward_args& a) {
  const int64_t rows = a.dx.rows(), n = a.dx.last(), most_blocks = int64_t{16} * gpu_of(context).multiprocessors;
  return dispatch_float(a.dx.dtype, [&](auto type) {
    using T = decltype(type);
    const LaunchShape shape{"top_k_backward", dim3(static_cast<unsigned>(rows < most_blocks ? rows : most_blocks)), dim3(kThreads)};
    return launch(gpu_of(context), shape, scatter_rows_of<T>, a.dvalues.as<const T>(), a.index.as<const int32_t>(), rows, n,
                  static_cast<int>(a.dvalues.last()), a.dx.as<T>());
  });
}

}  // namespace tilewise::TILEWISE_GPU
