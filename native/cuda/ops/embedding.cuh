// y[n] = dropout(scale * table[ids[n]] + positions[position_ids[n]]). position_ids repeats over the leading dimensions of ids; without it,
// the position is the index along the last dimension of ids.
#include "../prim/add_rows.cuh"

namespace tilewise::TILEWISE_GPU {
namespace {

constexpr int kPieces = 4;  // that a lane computes

// Tokens until positions repeat.
int64_t period_of(const View& ids, const View& position_ids) {
  const int64_t period = position_ids ? position_ids.count() : ids.last();
  return period > 0 ? period : 1;
}

template <class T>
struct Lookup {
  const T *table, *positions;
  RowIndex ids, position_ids;  // without position_ids its index is null
  T* y;
  int64_t tokens;
  int columns, width;
  float scale;
  Dropout dropout;
};

// y of a piece. Without an id the token is 0, without a position that adds nothing.
template <bool kDrops, class T, int N>
__device__ __forceinline__ void store_piece(const Lookup<T>& a, int64_t element, bool known, const Vec<T, N>& token, bool placed,
                                            const Vec<T, N>& place) {
  float values[N];
#pragma unroll
  for (int i = 0; i < N; ++i) {
    values[i] = known ? a.scale * static_cast<float>(token[i]) : 0.0f;
    if (placed) values[i] += static_cast<float>(place[i]);
  }
  if constexpr (kDrops) a.dropout.apply(element, values);
  Vec<T, N> y;
#pragma unroll
  for (int i = 0; i < N; ++i) y[i] = T(values[i]);
  store(a.y + element, y);
}

template <class T, int N>
__global__ void __launch_bounds__(kLaneRowThreads, 8) lookup(const __grid_constant__ Lookup<T> a) {
  const RowTeam<false> team(a.width);
  const int64_t n = int64_t{blockIdx.x} * team.slots() + team.slot;
  if (n >= a.tokens) return;
  const int32_t id = a.ids(n);
  int64_t position = -1;
  if (a.positions) position = a.position_ids.index ? a.position_ids(n) : a.position_ids.place(n);
  const int pieces = a.columns / N, from = static_cast<int>(blockIdx.y) * kPieces * team.width;
  const bool known = id >= 0, placed = position >= 0;
  Packed<T, N> token[kPieces], place[kPieces];
  load_tile(team, a.table + int64_t{id} * a.columns, from, known ? pieces : 0, token);
  load_tile(team, a.positions + position * a.columns, from, placed ? pieces : 0, place);
  int at = from + team.member;
  const int64_t row = n * a.columns;
  if (a.dropout.drops()) {
    // A piece at a time: random numbers for all at once would need more registers than the rest of the kernel.
#pragma unroll 1
    for (int k = 0; k < kPieces && at < pieces; ++k, at += team.width) {
      store_piece<true>(a, row + int64_t{at} * N, known, token[0].unpack(), placed, place[0].unpack());
      rotate(token);
      rotate(place);
    }
    return;
  }
#pragma unroll
  for (int k = 0; k < kPieces; ++k, at += team.width)
    if (at < pieces) store_piece<false>(a, row + int64_t{at} * N, known, token[k].unpack(), placed, place[k].unpack());
}

}  // namespace

Status embedding(Context& context, const embedding_args& a) {
  const int64_t tokens = a.ids.count(), columns = a.table.last();
  if (tokens == 0) return Status::ok();
  if (tokens > 0x7fffffff || columns > 0x3fffffff) return unsupported("embedding of " + a.y.shape_string());
  const Gpu& gpu = gpu_of(context);
  const View& positions = a.positions;
  const RowIndex ids{a.ids.as<const int32_t>(), tokens, a.table.dims[0], gpu.fault, 0};
  const RowIndex position_ids{a.position_ids ? a.position_ids.as<const int32_t>() : nullptr, period_of(a.ids, a.position_ids),
                              positions ? positions.dims[0] : 0, gpu.fault, 1};
  return dispatch_float(a.table.dtype, [&](auto type) {
    using T = decltype(type);
    const bool vectors =
        columns % kVector<T> == 0 && aligned16(a.table.data) && aligned16(a.y.data) && (!positions || aligned16(positions.data));
    const int64_t pieces = vectors ? columns / kVector<T> : columns;
    Lookup<T> p{a.table.as<const T>(),
                positions ? positions.as<const T>() : nullptr,
                ids,
                position_ids,
                a.y.as<T>(),
                tokens,
                static_cast<int>(columns),
                1,
                a.scale,
                Dropout(a.dropout, a.seed, a.counter)};
    while (p.width < kWarpSize && p.width * kPieces < pieces) p.width *= 2;
    const int64_t slots = kLaneRowThreads / p.width, slice = kPieces * p.width;
    const int64_t slices = max((pieces + slice - 1) / slice, int64_t{1});
    if (slices > 65535) return unsupported("embedding of " + a.y.shape_string());
    const dim3 grid(static_cast<unsigned>((tokens + slots - 1) / slots), static_cast<unsigned>(slices));
    return launch(gpu, LaunchShape{"embedding", grid, dim3(kLaneRowThreads)}, vectors ? lookup<T, kVector<T>> : lookup<T, 1>, p);
  });
}

Status embedding_backward(Context& context, const embedding_backward_args& a) {
  const int64_t tokens = a.ids.count(), columns = a.dy.last();
  if (tokens == 0) return Status::ok();
  if (tokens > 0x7fffffff || columns > 0x3fffffff) return unsupported("embedding of " + a.dy.shape_string());
  const Gpu& gpu = gpu_of(context);
  const auto add = [&](const char* name, const View& gradient, const SortedRows& sorted, int64_t period, float scale) {
    return dispatch_float(a.dy.dtype, [&](auto type) {
      using T = decltype(type);
      return launch_add_rows(
          gpu, name,
          AddRows<T>{a.dy.as<const T>(), gradient.as<float>(), sorted, tokens, min(period, tokens), static_cast<int32_t>(gradient.dims[0]),
                     static_cast<int>(columns), 1, scale, Dropout(a.dropout, a.seed, a.counter)});
    });
  };
  if (a.dtable) {
    if (a.dtable.dims[0] > 0x7ffffffe) return unsupported("embedding_backward of " + a.dtable.shape_string());
    SortedRows sorted;
    TILEWISE_RETURN_IF_ERROR(
        sort_by_row(context, {a.ids.as<const int32_t>(), tokens, a.dtable.dims[0], gpu.fault, 0}, tokens, a.padding_index, &sorted));
    if (columns > 0) TILEWISE_RETURN_IF_ERROR(add("embedding_backward", a.dtable, sorted, tokens, a.scale));
  }
  if (!a.dpositions) return Status::ok();
  const int64_t period = period_of(a.ids, a.position_ids);
  SortedRows sorted{nullptr, nullptr};
  if (a.position_ids)
    TILEWISE_RETURN_IF_ERROR(
        sort_by_row(context, {a.position_ids.as<const int32_t>(), period, a.dpositions.dims[0], gpu.fault, 1}, tokens, -1, &sorted));
  return columns > 0 ? add("embedding_backward_positions", a.dpositions, sorted, period, 1.0f) : Status::ok();
}

}  // namespace tilewise::TILEWISE_GPU
