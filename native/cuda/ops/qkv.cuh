// The projections to queries, keys and values: one product, whose epilogue turns heads and writes each to its own tensor or to a cache. On
// the way back heads turn the other way, before the products.
#include "../../core/qkv.h"
#include "../linear_gradient.h"
#include "../prim/dispatch.h"
#include "../prim/row_index.cuh"
#include "../prim/rows.cuh"

namespace tilewise::TILEWISE_GPU {
namespace {

constexpr int kPieces = 4;  // that a lane turns

// y = the columns of q and k, in one or two sources, turned back.
template <class T>
struct TurnBack {
  struct Source {
    const T* data;
    int64_t ld;
  };
  Source sources[2];
  int first_width;  // of sources[0]
  T* y;             // [rows, rotary.columns]
  Rotary rotary;
  DeviceFault* fault;
  int64_t rows;
  int columns, width;
};

// A few lanes take a slice of a row, in pieces of N columns that turn with those of one piece, or inside of themselves.
template <class T, int N>
__global__ void __launch_bounds__(kLaneRowThreads) turn_back(const __grid_constant__ TurnBack<T> a) {
  const RowTeam<false> team(a.width);
  const int64_t n = int64_t{blockIdx.x} * team.slots() + team.slot;
  if (n >= a.rows) return;
  const Rotary& r = a.rotary;
  const RowIndex ids{r.ids, r.period, r.positions, a.fault, 0};
  const int64_t position = r.ids ? ids(n) : ids.place(n);
  const float *const cosines = r.cosines + position * r.pairs, *const sines = r.sines + position * r.pairs;
  const int from = static_cast<int>(blockIdx.y) * kPieces * team.width;
#pragma unroll 1
  for (int k = 0; k < kPieces; ++k) {
    const int column = (from + team.member + k * team.width) * N;
    if (column >= a.columns) return;
    const bool in_first = column < a.first_width;
    const typename TurnBack<T>::Source& source = a.sources[in_first ? 0 : 1];
    const T* const x = source.data + n * source.ld + (in_first ? column : column - a.first_width);
    Vec<T, N> y = load_constant<N>(x);
    const int within = column % r.head;
    if (position >= 0 && within < 2 * r.pairs) {
      if (N > 1 && r.interleaved) {
        if constexpr (N > 1) {
          const auto c = load_constant<N / 2>(cosines + within / 2), s = load_constant<N / 2>(sines + within / 2);
#pragma unroll
          for (int i = 0; i < N / 2; ++i) {
            const float first = static_cast<float>(y[2 * i]), second = static_cast<float>(y[2 * i + 1]);
            y[2 * i] = T(first * c[i] + second * s[i]);
            y[2 * i + 1] = T(second * c[i] - first * s[i]);
          }
        }
      } else {
        const bool second = r.interleaved ? within & 1 : within >= r.pairs;
        const int step = r.interleaved ? 1 : r.pairs, pair = r.interleaved ? within / 2 : second ? within - step : within;
        const Vec<T, N> other = load_constant<N>(x + (second ? -step : step));
        constexpr int kAngles = N < 4 ? N : 4;  // in 16 bytes
#pragma unroll
        for (int i = 0; i < N; i += kAngles) {
          const auto c = load_constant<kAngles>(cosines + pair + i), s = load_constant<kAngles>(sines + pair + i);
#pragma unroll
          for (int j = 0; j < kAngles; ++j)
            y[i + j] = T(static_cast<float>(y[i + j]) * c[j] + static_cast<float>(other[i + j]) * (second ? -s[j] : s[j]));
        }
      }
    }
    store(a.y + n * a.columns + column, y);
  }
}

// *dy [rows, rotary.columns], in scratch memory: the gradients of queries and keys before they turned.
Status turn_back_heads(Context& context, const HeadColumns& columns, const Rotary& rotary, DType dtype, int64_t rows, void** dy) {
  const auto bytes = static_cast<size_t>(rows * rotary.columns) * size_of(dtype);
  TILEWISE_RETURN_IF_ERROR(context.scratch(bytes, dy));
  if (rotary.columns > 0x3fffffff) return unsupported("qkv_backward of " + std::to_string(rotary.columns) + " columns");
  const Gpu& gpu = gpu_of(context);
  return dispatch_float(dtype, [&](auto type) {
    using T = decltype(type);
    constexpr int N = kVector<T>;
    TurnBack<T> p;
    bool vectors = rotary.head % N == 0 && 2 * rotary.pairs % N == 0 && (rotary.interleaved || rotary.pairs % N == 0) &&
                   aligned16(rotary.cosines) && aligned16(rotary.sines);
    for (int i = 0; i < 2; ++i) {
      const HeadColumns::Part& part = columns.parts[i < columns.count ? i : 0];
      p.sources[i] = {reinterpret_cast<const T*>(part.data), part.ld};
      vectors = vectors && aligned16(part.data) && part.ld % N == 0;
    }
    p.first_width = static_cast<int>(min(columns.parts[0].width, rotary.columns));
    p.y = static_cast<T*>(*dy);
    p.rotary = rotary;
    p.fault = gpu.fault;
    p.rows = rows;
    p.columns = static_cast<int>(rotary.columns);
    p.width = 1;
    const int pieces = vectors ? p.columns / N : p.columns;
    while (p.width < kWarpSize && p.width * kPieces < pieces) p.width *= 2;
    const int slots = kLaneRowThreads / p.width, slice = kPieces * p.width;
    const int slices = (pieces + slice - 1) / slice;
    if (slices > 65535) return unsupported("qkv_backward of " + std::to_string(rotary.columns) + " columns");
    const dim3 grid(static_cast<unsigned>((rows + slots - 1) / slots), static_cast<unsigned>(slices));
    return launch(gpu, LaunchShape{"qkv_backward_turn", grid, dim3(kLaneRowThreads)}, vectors ? turn_back<T, N> : turn_back<T, 1>, p);
  });
}

}  // namespace

Status qkv(Context& context, const qkv_args& a) {
  HeadColumns columns;
  TILEWISE_RETURN_IF_ERROR(columns_of(a, &columns));
  GemmProblem p;
  p.dtype = a.x.dtype;
  p.m = a.x.rows(), p.n = columns.width, p.k = a.x.last();
  p.a = {a.x.data, p.k, 1};
  p.b = {a.weight.data, p.k, 1};
  GemmEpilogue& e = p.epilogue;
  if (a.bias) e.bias = a.bias.data, e.bias_f32 = a.bias.dtype == DType::f32;
  e.heads.rotary = rotary_of(a);
  if (a.slots) e.heads.slots = a.slots.as<const int32_t>(), e.heads.slot_rows = slot_rows(a);
  e.heads.fault = gpu_of(context).fault;
  e.output_count = columns.count;
  int64_t end = 0;
  for (int i = 0; i < columns.count; ++i) {
    const HeadColumns::Part& part = columns.parts[i];
    e.outputs[i] = {part.data, part.ld, end += part.width, part.cached};
  }
  return gemm(context, p);
}

Status qkv_backward(Context& context, const qkv_backward_args& a) {
  HeadColumns columns;
  TILEWISE_RETURN_IF_ERROR(columns_of(a, &columns));
  LinearGradient l;
  l.rows = a.x.rows(), l.in = a.x.last(), l.out = a.weight.dims[0];
  l.dtype = a.x.dtype;
  l.parts = columns.count;
  for (int i = 0; i < columns.count; ++i) l.dy[i] = {columns.parts[i].data, columns.parts[i].width, columns.parts[i].ld};
  if (const Rotary rotary = rotary_of(a); rotary.cosines && l.rows > 0) {
    void* turned = nullptr;
    TILEWISE_RETURN_IF_ERROR(turn_back_heads(context, columns, rotary, l.dtype, l.rows, &turned));
    // What did not turn are values, which come last.
    const HeadColumns::Part& last = columns.parts[columns.count - 1];
    const int64_t values = columns.width - rotary.columns;
    l.parts = values > 0 ? 2 : 1;
    l.dy[0] = {turned, rotary.columns, rotary.columns};
    l.dy[1] = {last.data + (last.width - values) * static_cast<int64_t>(columns.element), values, last.ld};
  }
  l.x = a.x.data, l.weight = a.weight.data;
  if (a.dx) l.dx = a.dx.data;
  if (a.dweight) l.dweight = a.dweight.as<float>();
  if (a.dbias) l.dbias = a.dbias.as<float>();
  return linear_gradient(context, l);
}

}  // namespace tilewise::TILEWISE_GPU
