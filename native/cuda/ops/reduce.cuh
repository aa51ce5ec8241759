// Sums, means, maxima and minima over any dimensions, accumulated in f32. kind numbers: lib/ops/reduce.ts. y is contiguous.
#include "../prim/elementwise.cuh"
#include "../prim/reduce.cuh"
#include "../tune.h"

namespace tilewise::TILEWISE_GPU {
namespace {

enum class Kind : int32_t { sum, mean, maximum, minimum };

// One side of the index space split into kept and reduced dimensions, innermost first.
struct Side {
  int rank = 0;
  int64_t count = 1;
  int64_t dims[kMaxRank];
  int64_t strides[kMaxRank];

  __device__ __forceinline__ int64_t offset(int64_t index) const {
    int64_t out = 0;
    for (int i = 0; i < rank; ++i) {
      const int64_t at = i + 1 < rank ? index % dims[i] : index;
      index = i + 1 < rank ? index / dims[i] : 0;
      out += at * strides[i];
    }
    return out;
  }
  void push(int64_t size, int64_t stride) {
    count *= size;
    if (size == 1) return;
    if (rank > 0 && stride == strides[rank - 1] * dims[rank - 1]) {
      dims[rank - 1] *= size;
      return;
    }
    dims[rank] = size;
    strides[rank++] = stride;
  }
};

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarpSize;
constexpr int kPieces = 4;       // of 16 bytes of a row that a thread asks for at once
constexpr int kColumns = 4;      // of a lane
constexpr int kLeastRows = 128;  // of a part, where columns are reduced

template <class T>
struct Reduce {
  const T* x;
  T* y;
  float* partials;  // [parts, kept]; null: there is one part, and y is written
  Side kept, reduced;
  int64_t part;  // reduced elements of a part
  float scale;
  bool vectors;
  bool warps;  // each has a row of its own

  __device__ __forceinline__ void store(int64_t at, float value) const {
    if (partials)
      store_float(partials + blockIdx.y * kept.count + at, value);
    else
      store_float(y + at, value * scale);
  }
};

// Every `step`th element from `at` on, one by one.
template <class F, class T>
__device__ __forceinline__ float reduce_elements(const T* base, const Side& reduced, int64_t at, int64_t to, int step, float value) {
  if (reduced.rank <= 1) {
    const int64_t stride = reduced.rank == 1 ? reduced.strides[0] : 0;
#pragma unroll 4
    for (; at < to; at += step) value = F::join(value, load_float(base + at * stride));
    return value;
  }
#pragma unroll 1
  for (; at < to; at += step) value = F::join(value, load_float(base + reduced.offset(at)));
  return value;
}

// A block or a warp an output: the reduced elements are neighbours in memory.
template <class F, class T>
__global__ void __launch_bounds__(kThreads) reduce_rows(const __grid_constant__ Reduce<T> a) {
  constexpr int N = kVector<T>;
  const int width = a.warps ? kWarpSize : kThreads, member = static_cast<int>(threadIdx.x) % width;
  const int64_t row = a.warps ? int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarpSize : int64_t{blockIdx.x};
  const bool exists = row < a.kept.count;
  const T* const base = a.x + a.kept.offset(exists ? row : 0);
  const int64_t from = blockIdx.y * a.part, to = exists ? min(from + a.part, a.reduced.count) : from;
  const int64_t vectors_end = a.vectors ? to - (to - from) % N : from;
  float value = F::start();
  for (int64_t at = from + member * N; at < vectors_end; at += kPieces * width * N) {
    // Past the end the last piece again: a branch around a load makes the compiler wait for the one before.
    Packed<T, N> x[kPieces];
#pragma unroll
    for (int k = 0; k < kPieces; ++k) x[k] = load_packed<N>(base + min(at + k * width * N, vectors_end - N));
#pragma unroll
    for (int k = 0; k < kPieces; ++k) {
      const Vec<T, N> piece = x[k].unpack();
      if (at + k * width * N >= vectors_end) continue;
#pragma unroll
      for (int i = 0; i < N; ++i) value = F::join(value, static_cast<float>(piece[i]));
    }
  }
  value = reduce_elements<F>(base, a.reduced, vectors_end + member, to, width, value);
  value = a.warps ? warp_reduce<F>(value) : block_reduce<F>(value);
  if (member == 0 && exists) a.store(row, value);
}

// The kept elements are neighbours in memory: a warp a row, a lane a few columns, and several rows under way.
template <class F, class T>
__global__ void __launch_bounds__(kThreads) reduce_columns(const __grid_constant__ Reduce<T> a) {
  constexpr int kDeep = 64 / static_cast<int>(kColumns * sizeof(T));
  SHARED_ARRAY(float, partial, kThreads* kColumns);
  const int lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize;
  const int64_t column = (int64_t{blockIdx.x} * kWarpSize + lane) * kColumns, left = a.kept.count - column;
  const int64_t from = blockIdx.y * a.part, to = min(from + a.part, a.reduced.count);
  Vec<float, kColumns> values;
#pragma unroll
  for (int i = 0; i < kColumns; ++i) values[i] = F::start();
  if (a.vectors && left >= kColumns) {
    const T* const base = a.x + a.kept.offset(column);
    for (int64_t at = from + warp; at < to; at += kDeep * kWarps) {
      Packed<T, kColumns> x[kDeep];
#pragma unroll
      for (int d = 0; d < kDeep; ++d) x[d] = load_packed<kColumns>(base + min(at + d * kWarps, to - 1) * a.reduced.strides[0]);
#pragma unroll
      for (int d = 0; d < kDeep; ++d) {
        const Vec<T, kColumns> one = x[d].unpack();
        if (at + d * kWarps >= to) continue;
#pragma unroll
        for (int i = 0; i < kColumns; ++i) values[i] = F::join(values[i], static_cast<float>(one[i]));
      }
    }
  } else {
#pragma unroll 1
    for (int i = 0; i < kColumns; ++i) {
      rotate(values.data);
      if (i < left)
        values[kColumns - 1] = reduce_elements<F>(a.x + a.kept.offset(column + i), a.reduced, from + warp, to, kWarps, F::start());
    }
  }
  store_shared(partial + threadIdx.x * kColumns, values);
  __syncthreads();
  const int64_t mine = int64_t{blockIdx.x} * kWarpSize * kColumns + threadIdx.x;
  if (threadIdx.x >= kWarpSize * kColumns || mine >= a.kept.count) return;
  float value = F::start();
#pragma unroll
  for (int w = 0; w < kWarps; ++w) value = F::join(value, load_shared(partial + w * kWarpSize * kColumns + threadIdx.x)[0]);
  a.store(mine, value);
}

// The parts in their order, a thread an output.
template <class F, class T>
__global__ void __launch_bounds__(kThreads) reduce_parts(const float* partials, T* y, int64_t kept, int parts, float scale) {
  const int64_t at = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (at >= kept) return;
  constexpr int kDeep = 8;
  float value = F::start();
  for (int first = 0; first < parts; first += kDeep) {
    float part[kDeep];
#pragma unroll
    for (int d = 0; d < kDeep; ++d) part[d] = load_constant(partials + min(first + d, parts - 1) * kept + at)[0];
#pragma unroll
    for (int d = 0; d < kDeep; ++d)
      if (first + d < parts) value = F::join(value, part[d]);
  }
  store_float(y + at, value * scale);
}

// Whether n neighbours along one side's innermost dimension may be accessed at once, wherever that starts.
template <class T>
bool allows_vectors(const T* x, const Side& along, const Side& other, int n) {
  if (along.rank == 0 || along.strides[0] != 1 || reinterpret_cast<uintptr_t>(x) % (n * sizeof(T)) != 0) return false;
  bool allowed = along.rank == 1 || along.dims[0] % n == 0;
  for (int i = 1; i < along.rank; ++i) allowed = allowed && along.strides[i] % n == 0;
  for (int i = 0; i < other.rank; ++i) allowed = allowed && other.strides[i] % n == 0;
  return allowed;
}

template <class F, class T>
Status run(Context& context, const reduce_args& a, const Side& kept, const Side& reduced, float scale) {
  if (kept.count == 0) return Status::ok();
  const Gpu& gpu = gpu_of(context);
  constexpr int N = kVector<T>;
  const bool columns = kept.rank > 0 && kept.strides[0] == 1 && reduced.count > 1;
  Reduce<T> p{a.x.as<const T>(), a.y.as<T>(), nullptr, kept, reduced, reduced.count, scale, false, false};
  // Several reduced dimensions are read by elements.
  p.vectors = reduced.rank == 1 && (columns ? allows_vectors(p.x, kept, reduced, kColumns) : allows_vectors(p.x, reduced, kept, N));
  p.warps = !columns && reduced.count <= kWarpSize * N * kPieces;
  const int64_t blocks = ceil_div(kept.count, columns ? kWarpSize * kColumns : p.warps ? kWarps : 1);
  if (blocks > 0x7fffffff) return unsupported("a reduction to " + std::to_string(kept.count) + " elements");
  // Few outputs of many elements: in parts that fill the device.
  int64_t parts = min(ceil_div(4 * gpu.multiprocessors, blocks), ceil_div(reduced.count, columns ? kLeastRows : kThreads * N * kPieces));
  if (parts > 1) {
    p.part = ceil_div(ceil_div(reduced.count, parts), N) * N;
    parts = ceil_div(reduced.count, p.part);
  }
  if (parts > 1) {
    void* memory = nullptr;
    TILEWISE_RETURN_IF_ERROR(context.scratch(static_cast<size_t>(parts * kept.count) * sizeof(float), &memory));
    p.partials = static_cast<float*>(memory);
  }
  const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(max(parts, int64_t{1})));
  TILEWISE_RETURN_IF_ERROR(launch(gpu, LaunchShape{columns ? "reduce_columns" : "reduce_rows", grid, dim3(kThreads)},
                                  columns ? reduce_columns<F, T> : reduce_rows<F, T>, p));
  if (parts <= 1) return Status::ok();
  const LaunchShape shape{"reduce_parts", dim3(static_cast<unsigned>(ceil_div(kept.count, kThreads))), dim3(kThreads)};
  return launch(gpu, shape, reduce_parts<F, T>, static_cast<const float*>(p.partials), p.y, kept.count, static_cast<int>(parts), scale);
}

}  // namespace

Status reduce(Context& context, const reduce_args& a) {
  Side kept, reduced;
  for (int i = a.x.rank - 1; i >= 0; --i) (a.dims >> i & 1 ? reduced : kept).push(a.x.dims[i], a.x.strides[i]);
  return dispatch_float(a.x.dtype, [&](auto type) {
    using T = decltype(type);
    switch (static_cast<Kind>(a.kind)) {
      case Kind::maximum:
        return run<Max, T>(context, a, kept, reduced, 1.0f);
      case Kind::minimum:
        return run<Min, T>(context, a, kept, reduced, 1.0f);
      case Kind::mean:  // of nothing is NaN, as in PyTorch
        return run<Add, T>(context, a, kept, reduced, 1.0f / static_cast<float>(reduced.count));
      case Kind::sum:
        break;
    }
    return run<Add, T>(context, a, kept, reduced, 1.0f);
  });
}

}  // namespace tilewise::TILEWISE_GPU
