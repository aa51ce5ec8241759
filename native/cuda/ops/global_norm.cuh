// The 2-norm over many tensors, and scaling them down to a largest norm.
#include "../prim/reduce.cuh"
#include "../prim/tensor_list.cuh"

namespace tilewise::TILEWISE_GPU {
namespace {

constexpr int kThreads = 256;

struct alignas(16) Item {
  void* data;
  int64_t count;
  int32_t first_piece;
  DType dtype;
  bool vectors;
};

Status upload_items(Context& context, const ViewList& xs, Item** table, int64_t* pieces) {
  *pieces = 0;
  TILEWISE_RETURN_IF_ERROR(upload_table(
      context, xs.count,
      [&](int i) {
        const Item item{xs[i].data, xs[i].count(), static_cast<int32_t>(*pieces), xs[i].dtype, aligned16(xs[i].data)};
        *pieces += pieces_of(item.count);
        return item;
      },
      table));
  return *pieces > 0x7fffffff ? unsupported("so many elements at once") : Status::ok();
}

// The block's piece of its tensor.
struct Range {
  Item item;
  int64_t from, to;
};
__device__ __forceinline__ Range range_of_block(const Item* table, int count) {
  Range range;
  range.item = table[entry_of_piece(table, count, blockIdx.x)];
  range.from = (static_cast<int64_t>(blockIdx.x) - range.item.first_piece) * kPiece;
  range.to = range.item.count < range.from + kPiece ? range.item.count : range.from + kPiece;
  return range;
}

// In f64: squares of gradients leave f32's range at 1e19 and vanish at 1e-23, and the pass is bound by memory either way.
template <class T>
__device__ __forceinline__ double squares(const Range& range) {
  constexpr int N = kVector<T>;
  const T* x = static_cast<const T*>(range.item.data);
  const int64_t vectors_end = range.item.vectors ? range.to - (range.to - range.from) % N : range.from;
  double sum = 0.0;
  for (int64_t at = range.from + N * threadIdx.x; at < vectors_end; at += N * kThreads) {
    const Vec<T, N> values = load<N>(x + at);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const double value = static_cast<float>(values[i]);
      sum += value * value;
    }
  }
  for (int64_t at = vectors_end + threadIdx.x; at < range.to; at += kThreads) {
    const double value = load_float(x + at);
    sum += value * value;
  }
  return sum;
}

__device__ __forceinline__ double block_sum(double value) {
  SHARED_ARRAY(double, partial, kThreads / kWarpSize);
#pragma unroll
  for (int lanes = kWarpSize / 2; lanes > 0; lanes /= 2) value += __shfl_xor_sync(kFullMask, value, lanes);
  if (threadIdx.x % kWarpSize == 0) partial[threadIdx.x / kWarpSize] = value;
  __syncthreads();
  double sum = 0.0;
  for (int i = 0; i < kThreads / kWarpSize; ++i) sum += partial[i];
  return sum;
}

__global__ void __launch_bounds__(kThreads) sum_squares(const Item* table, int count, double* sums) {
  const Range range = range_of_block(table, count);
  double sum = range.item.dtype == DType::f32    ? squares<float>(range)
               : range.item.dtype == DType::bf16 ? squares<bf16>(range)
                                                 : squares<f16>(range);
  sum = block_sum(sum);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kThreads) norm_of_sums(const double* sums, int64_t count, float* norm) {
  double sum = 0.0;
  for (int64_t i = threadIdx.x; i < count; i += kThreads) sum += sums[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) store_float(norm, static_cast<float>(sqrt(sum)));
}

__global__ void __launch_bounds__(kThreads) clip(const Item* table, int count, const float* norm, float max_norm) {
  const float factor = max_norm / (load_float(norm) + 1e-6f);
  if (factor >= 1.0f) return;  // a NaN norm goes on, and makes everything NaN
  const Range range = range_of_block(table, count);
  float* x = static_cast<float*>(range.item.data);
  const int64_t vectors_end = range.item.vectors ? range.to - (range.to - range.from) % 4 : range.from;
  for (int64_t at = range.from + 4 * threadIdx.x; at < vectors_end; at += 4 * kThreads) {
    Vec<float, 4> values = load<4>(x + at);
#pragma unroll
    for (int i = 0; i < 4; ++i) values[i] *= factor;
    store(x + at, values);
  }
  for (int64_t at = vectors_end + threadIdx.x; at < range.to; at += kThreads) store_float(x + at, load_float(x + at) * factor);
}

}  // namespace

Status global_norm(Context& context, const global_norm_args& a) {
  for (const View& x : a.xs)
    if (!is_float(x.dtype)) return unsupported(std::string("the norm of dtype ") + name_of(x.dtype));
  Item* table = nullptr;
  int64_t pieces = 0;
  TILEWISE_RETURN_IF_ERROR(upload_items(context, a.xs, &table, &pieces));
  void* memory = nullptr;
  TILEWISE_RETURN_IF_ERROR(context.scratch(sizeof(double) * static_cast<size_t>(pieces > 0 ? pieces : 1), &memory));
  auto* sums = static_cast<double*>(memory);
  const Gpu& gpu = gpu_of(context);
  const LaunchShape shape{"sum_squares", dim3(static_cast<unsigned>(pieces)), dim3(kThreads)};
  TILEWISE_RETURN_IF_ERROR(launch(gpu, shape, sum_squares, table, a.xs.count, sums));
  return launch(gpu, LaunchShape{"norm_of_sums", dim3(1), dim3(kThreads)}, norm_of_sums, sums, pieces, a.norm.as<float>());
}

Status clip_by_norm(Context& context, const clip_by_norm_args& a) {
  for (const View& x : a.xs)
    if (x.dtype != DType::f32) return unsupported(std::string("clipping of dtype ") + name_of(x.dtype));
  Item* table = nullptr;
  int64_t pieces = 0;
  TILEWISE_RETURN_IF_ERROR(upload_items(context, a.xs, &table, &pieces));
  const LaunchShape shape{"clip_by_norm", dim3(static_cast<unsigned>(pieces)), dim3(kThreads)};
  return launch(gpu_of(context), shape, clip, table, a.xs.count, a.norm.as<const float>(), a.max_norm);
}

}  // namespace tilewise::TILEWISE_GPU
