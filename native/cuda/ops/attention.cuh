// Attention by tiles with an online softmax (Dao 2023, FlashAttention-2): a warp keeps 16 query rows' sums in registers while tiles of keys
// and values pass through shared memory, one tile ahead of the products.
#include "../prim/attention_forward.cuh"

namespace tilewise::TILEWISE_GPU {
namespace {

using namespace attention_tile;

constexpr int kWarps = 4;
constexpr int kPartTiles = 4;

// Loads tiles of keys and values; of a paged cache, finds the places of the tile after it.
template <class T, int P, bool kPaged>
struct KeyLoader {
  static constexpr int kKeys = kTileRows<T, P>;
  const Forward& a;
  const KeyTiles<kKeys>& tiles;
  T* stages;
  PlaceStages<kKeys> places;
  HeadRows<T> k, v;  // of a paged cache: of its first page
  int b;

  __device__ __forceinline__ void find(int tile) const {
    if (tile < tiles.count) places.load(tile, a.cache, b, tiles.first(tile), tiles.last(tile));
  }
  __device__ __forceinline__ void load(int tile) const {
    if (tile >= tiles.count) return;
    const int first = tiles.first(tile);
    const RowRange range = {0, tiles.last(tile), 0, 0};
    if constexpr (kPaged) {
      load_stage<P, kKeys>(stages, tile, paged(k, a.k, tile, first), paged(v, a.v, tile, first), first, range, a.p.dim, a.v.dim);
      find(tile + 1);
    } else {
      load_stage<P, kKeys>(stages, tile, k, v, first, range, a.p.dim, a.v.dim);
    }
  }

 private:
  __device__ __forceinline__ PagedRows<T> paged(const HeadRows<T>& rows, const AttentionTensor& of, int tile, int first) const {
    return {rows.base, of.batch_stride, of.row_stride, rows.vectors, a.cache, places.pages(tile), places.rows(tile), first};
  }
};

template <class T, int P, bool kPaged>
__global__ void __launch_bounds__(32 * kWarps, P == 64 ? 3 : 1) attention_forward(const __grid_constant__ Forward a) {
  constexpr int kKeys = kTileRows<T, P>, kTiles = kKeys / 8;
  const AttentionProblem& p = a.p;
  const int warps = blockDim.x / kWarpSize, rows = 16 * warps;
  const int warp = threadIdx.x / kWarpSize, lane = threadIdx.x % kWarpSize, g = lane / 4, t = lane % 4;
  unsigned index = blockIdx.x;
  const int part = index % a.parts;
  index /= a.parts;
  const int tile_of_rows = a.row_tiles - 1 - static_cast<int>(index % a.row_tiles);  // with a causal mask the last rows take longest
  index /= a.row_tiles;
  const int kv_head = index % p.kv_heads, b = index / p.kv_heads;

  const AttentionSequence s(p, a.cache, b);
  const int first = tile_of_rows * rows, all_rows = s.queries * p.group;
  const Parts parts = a.parts_of(s);
  if (first >= all_rows || part >= parts.parts) return;
  const int query_begin = first / p.group, query_end = (min(first + rows, all_rows) - 1) / p.group + 1;
  const int key_begin = parts.first_key + part * parts.part_keys;
  const KeyTiles<kKeys> tiles(p, s, query_begin, query_end, key_begin, min(s.keys, key_begin + parts.part_keys));

  T* const query_tile = dynamic_smem<T>();
  T* const stages = query_tile + rows * P;                                              // two of keys and values
  const PlaceStages<kKeys> places{reinterpret_cast<int32_t*>(stages + 4 * kKeys * P)};  // where there is a block table
  const int table_b = kPaged ? 0 : b;
  const KeyLoader<T, P, kPaged> keys_of{
      a, tiles, stages, places, a.k.of<T>(table_b, s.first_k, kv_head, 1), a.v.of<T>(table_b, s.first_k, kv_head, 1), b};
  if constexpr (kPaged) {
    keys_of.find(0);
    copy_async_commit();
    check_pages(a.cache, b, tiles.begin, tiles.end);
    copy_async_wait<0>();
    __syncthreads();  // the first tile's places have arrived
  }
  load_tile<T, P>(query_tile, rows, a.q.of<T>(b, s.first_q, kv_head * p.group, p.group), first, {0, all_rows, 0, 0}, p.dim);
  keys_of.load(0);
  copy_async_commit();

  const int warp_row = 16 * warp;  // idle where the last tile of rows ends before it
  const bool idle = first + warp_row >= all_rows;
  float sums[1][P / 8][4];
  clear(sums);
  RowSums softmax;
  for (int tile = 0; tile < tiles.count; ++tile) {
    copy_async_wait<0>();
    __syncthreads();  // this tile has arrived, and the one before it is done with
    keys_of.load(tile + 1);
    copy_async_commit();
    if (idle) continue;
    const T* const keys = stage_of<P, kKeys>(stages, tile);
    float scores[1][kTiles][4];
    clear(scores);
    multiply_rows<T, P>(scores, query_tile, warp_row, keys, p.dim, p.tf32);
    // Scaled before the maximum is taken: the scale may be negative, and a difference of products would not be 0 at the maximum itself.
    scale(scores, p.scale_log2);
    const int key = tiles.first(tile);
    if (tiles.is_masked(p, s, tile, query_begin, query_end))
      mask_scores(scores[0], p, s, p.group, kv_head * p.group, first + warp_row + g, all_rows, key + 2 * t, tiles.last(tile));
    float decay[2];
    softmax.update(scores[0], decay);
#pragma unroll
    for (int n = 0; n < P / 8; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) sums[0][n][i] *= decay[i / 2];
    if (a.dropout.probability > 0.0f) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = first + warp_row + g + 8 * half, i = row / p.group;
        const uint64_t element = AttentionDropout::row(p, b, kv_head * p.group + row - i * p.group, i) + key + 2 * t;
#pragma unroll
        for (int n = 0; n < kTiles; ++n) {
          float factors[2];
          a.dropout.pair(element + 8 * n, factors);
          scores[0][n][2 * half] *= factors[0];
          scores[0][n][2 * half + 1] *= factors[1];
        }
      }
    }
    multiply_columns<T, P>(sums, scores, keys + kKeys * P, 0, a.v.dim, p.tf32);
  }
  copy_async_wait<0>();  // where there was no tile, the queries are still on their way to where sums will lie
  __syncthreads();       // and other threads' copies too
  if (idle) return;
  softmax.finish();

  if (parts.parts > 1) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = first + warp_row + g + 8 * half;
      if (row >= all_rows) continue;
      const int64_t at = a.partial_row(b, kv_head, row, part);
      if (t == 0) {
        store_float(a.partial_most + at, softmax.most[half]);
        store_float(a.partial_total + at, softmax.total[half]);
      }
#pragma unroll
      for (int n = 0; n < P / 8; ++n) {
        if (8 * n >= a.columns) break;
        store<2>(a.partial + at * a.columns + 8 * n + 2 * t, Vec<float, 2>{{sums[0][n][2 * half], sums[0][n][2 * half + 1]}});
      }
    }
    return;
  }
  float factor[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    factor[half] = softmax.total[half] == 0.0f ? 0.0f : 1.0f / softmax.total[half];
    const int row = first + warp_row + g + 8 * half, i = row / p.group;
    if (t == 0 && row < all_rows)
      store_float(a.log_sum_exp + s.query_row(p, i) * p.heads + kv_head * p.group + row - i * p.group,
                  log_sum_exp_of(softmax.most[half], softmax.total[half]));
  }
  store_rows<T, P>(sums[0], factor, query_tile + warp_row * P, a.output.of<T>(b, s.first_q, kv_head * p.group, p.group), first + warp_row,
                   all_rows, 0, a.v.dim);
}

template <class T, int P>
Status run(Context& context, const attention_args& args) {
  const Gpu& gpu = gpu_of(context);
  constexpr int kKeys = kTileRows<T, P>;
  Forward a(gpu, args, kKeys, kPartTiles);
  const AttentionProblem& p = a.p;
  if (!p.fits()) return unsupported("attention of a sequence of " + std::to_string(max(p.max_q, p.max_k)) + " tokens");
  const int64_t heads = int64_t{p.batch} * p.kv_heads, rows = int64_t{p.max_q} * p.group;
  if (heads * rows == 0) return Status::ok();
  constexpr size_t kRow = P * sizeof(T);
  const size_t stages = 4 * kKeys * kRow + (a.cache.table ? PlaceStages<kKeys>::kBytes : 0);
  const int warps = attention_warps(gpu, rows, kWarps, stages, 16 * kRow);
  a.row_tiles = static_cast<int>((rows + 16 * warps - 1) / (16 * warps));

  if (a.row_tiles == 1)  // perhaps too few blocks
    TILEWISE_RETURN_IF_ERROR(a.cut(context, 2 * int64_t{gpu.multiprocessors} / heads));
  const int64_t blocks = heads * a.row_tiles * a.parts;
  if (blocks > 0x7fffffff) return unsupported("attention of " + std::to_string(heads * rows) + " rows");
  const LaunchShape shape{"attention_forward", dim3(static_cast<unsigned>(blocks)), dim3(32 * warps), stages + 16 * kRow * warps};
  TILEWISE_RETURN_IF_ERROR(launch(gpu, shape, a.cache.table ? attention_forward<T, P, true> : attention_forward<T, P, false>, a));
  return launch_combine<T>(gpu, a);
}

}  // namespace

Status attention(Context& context, const attention_args& a) {
  const int64_t kv_heads = a.k.dims[a.k.rank - 2];
  if (a.dropout == 0.0f && a.max_q * a.q.dims[a.q.rank - 2] <= kFewRows * kv_heads) return attention_few_rows(context, a);
  return dispatch_head_dim("attention", a.q.last(), a.v.last(), [&](auto padded) {
    return dispatch_float(a.q.dtype, [&](auto type) { return run<decltype(type), decltype(padded)::value>(context, a); });
  });
}

}  // namespace tilewise::TILEWISE_GPU
