// Rows by number: gather_rows reads them, scatter_rows adds to them.
#include "../prim/add_rows.cuh"

namespace tilewise::TILEWISE_GPU {
namespace {

constexpr int kPieces = 4;  // that a lane copies

struct Gather {
  const void* x;
  void* y;
  RowIndex index;
  int64_t rows;  // of y
  int pieces, width;
};

// A few lanes copy a slice of a row, in pieces of N units U.
template <class U, int N>
__global__ void __launch_bounds__(kLaneRowThreads) gather(const __grid_constant__ Gather a) {
  const RowTeam<false> team(a.width);
  const int64_t n = int64_t{blockIdx.x} * team.slots() + team.slot;
  if (n >= a.rows) return;
  const int32_t row = a.index(n);
  const U* const x = static_cast<const U*>(a.x) + int64_t{row} * a.pieces * N;
  U* const y = static_cast<U*>(a.y) + n * a.pieces * N;
  const int from = static_cast<int>(blockIdx.y) * kPieces * team.width;
  Vec<U, N> values[kPieces] = {};
  load_tile(team, x, from, row < 0 ? 0 : a.pieces, values);
#pragma unroll
  for (int k = 0; k < kPieces; ++k) {
    const int at = from + team.member + k * team.width;
    if (at < a.pieces) store(y + int64_t{at} * N, values[k]);
  }
}

}  // namespace

Status gather_rows(Context& context, const gather_rows_args& a) {
  const int64_t rows = a.index.count();
  if (rows == 0) return Status::ok();
  const int64_t bytes = a.y.count() / rows * static_cast<int64_t>(size_of(a.x.dtype));
  const Gpu& gpu = gpu_of(context);
  Gather p{a.x.data, a.y.data, {a.index.as<const int32_t>(), rows, a.x.dims[0], gpu.fault, 0}, rows, 0, 1};
  // Of all addresses and sizes, the lowest bits set say what is the widest access.
  const uint64_t bits = reinterpret_cast<uintptr_t>(a.x.data) | reinterpret_cast<uintptr_t>(a.y.data) | static_cast<uint64_t>(bytes);
  const int unit = bits % 16 == 0 ? 16 : bits % 4 == 0 ? 4 : bits % 2 == 0 ? 2 : 1;
  const auto kernel = unit == 16  ? gather<uint32_t, 4>
                      : unit == 4 ? gather<uint32_t, 1>
                      : unit == 2 ? gather<uint16_t, 1>
                                  : gather<uint8_t, 1>;
  if (bytes / unit > 0x3fffffff || rows > 0x7fffffff) return unsupported("gather_rows of " + a.y.shape_string());
  p.pieces = static_cast<int>(bytes / unit);
  while (p.width < kWarpSize && p.width * kPieces < p.pieces) p.width *= 2;
  const int64_t slots = kLaneRowThreads / p.width, slice = kPieces * p.width;
  const int64_t slices = max((p.pieces + slice - 1) / slice, int64_t{1});  // without columns the index is still checked
  if (slices > 65535) return unsupported("gather_rows of " + a.y.shape_string());
  const dim3 grid(static_cast<unsigned>((rows + slots - 1) / slots), static_cast<unsigned>(slices));
  return launch(gpu, LaunchShape{"gather_rows", grid, dim3(kLaneRowThreads)}, kernel, p);
}

Status scatter_rows(Context& context, const scatter_rows_args& a) {
  if (a.y.dtype != DType::f32) return unsupported(std::string("scatter_rows into ") + name_of(a.y.dtype));
  const int64_t count = a.index.count();
  if (count == 0) return Status::ok();
  const int64_t columns = a.x.count() / count;
  if (count > 0x7fffffff || columns > 0x3fffffff || a.y.dims[0] > 0x7ffffffe) return unsupported("scatter_rows of " + a.x.shape_string());
  const Gpu& gpu = gpu_of(context);
  SortedRows sorted;
  TILEWISE_RETURN_IF_ERROR(sort_by_row(context, {a.index.as<const int32_t>(), count, a.y.dims[0], gpu.fault, 0}, count, -1, &sorted));
  if (columns == 0) return Status::ok();
  return dispatch_float(a.x.dtype, [&](auto type) {
    using T = decltype(type);
    return launch_add_rows(gpu, "scatter_rows",
                           AddRows<T>{a.x.as<const T>(), a.y.as<float>(), sorted, count, count, static_cast<int32_t>(a.y.dims[0]),
                                      static_cast<int>(columns), 1, 1.0f, Dropout(0.0f, 0, 0)});
  });
}

}  // namespace tilewise::TILEWISE_GPU
