// Tiles of paged caches. Where a tile's rows lie comes through shared memory one tile ahead of the rows, so that no copy waits for the
// block table, and a row's page is found once, not for each 16 bytes of it.
#pragma once
#include "attention_tile.cuh"

namespace tilewise::TILEWISE_GPU::attention_tile {

// Two stages of kRows pages and of the rows in them.
template <int kRows>
struct PlaceStages {
  int32_t* memory;
  static constexpr size_t kBytes = 4 * kRows * sizeof(int32_t);

  __device__ __forceinline__ int32_t* pages(int index) const { return memory + index % 2 * (2 * kRows); }
  __device__ __forceinline__ int32_t* rows(int index) const { return pages(index) + kRows; }

  // Finds keys [first, min(first + kRows, end)) of sequence b. Asynchronous: the caller commits, waits and synchronizes.
  __device__ __forceinline__ void load(int index, const AttentionCache& cache, int b, int first, int end) const {
    const int32_t* const table = cache.table + int64_t{b} * cache.width;
    for (int at = threadIdx.x; at < kRows && first + at < end; at += blockDim.x) {
      const int key = first + at, page = key / cache.page_size;
      copy_async<4>(pages(index) + at, table + page);
      store_shared<1>(rows(index) + at, Vec<int32_t, 1>{{key - page * cache.page_size}});
    }
  }
};

// Reports pages of keys [begin, end) of sequence b that do not exist. Once, before the tiles come: not there, where each
// register counts.
__device__ __forceinline__ void check_pages(const AttentionCache& cache, int b, int begin, int end) {
  if (begin >= end) return;
  const int64_t row = int64_t{b} * cache.width;
  const int last = (end - 1) / cache.page_size;
  for (int at = begin / cache.page_size + threadIdx.x; at <= last; at += blockDim.x) {
    const int32_t page = load_constant(cache.table + row + at)[0];
    if (!cache.has(page)) report_fault(cache.fault, 1, row + at, page);
  }
}

// Rows of one head of a paged cache, whose places have been found. Those of a page that does not exist are absent.
template <class T>
struct PagedRows {
  const T* base;
  int64_t page_stride, row_stride;
  bool vectors;
  const AttentionCache& cache;
  const int32_t *pages, *rows;  // of the tile's rows, the first of which is key `first`
  int first;

  __device__ __forceinline__ bool has(int key) const { return cache.has(load_shared(pages + key - first)[0]); }
  __device__ __forceinline__ const T* at(int key) const {
    return base + load_shared(pages + key - first)[0] * page_stride + load_shared(rows + key - first)[0] * row_stride;
  }
};

}  // namespace tilewise::TILEWISE_GPU::attention_tile
