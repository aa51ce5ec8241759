// One launch over many tensors: a table with an entry a tensor, and blocks that share all elements in pieces of equal size.
#pragma once
#include "../cuda.h"
#include "vector.cuh"

namespace tilewise::TILEWISE_GPU {

// Elements a block works on.
constexpr int64_t kPiece = 8192;
inline int64_t pieces_of(int64_t count) { return (count + kPiece - 1) / kPiece; }

// Of the 4 KB that a kernel's parameters may have.
struct Carried {
  static constexpr int kBytes = 3840;
  Vec<uint32_t, 4> items[kBytes / 16];
};

// static: a kernel in a header needs a copy a file.
static __global__ void __launch_bounds__(Carried::kBytes / 16)
    write_table(const __grid_constant__ Carried carried, Vec<uint32_t, 4>* table) {
  store(table[threadIdx.x].data, carried.items[threadIdx.x]);
}

// A table of `count` entries in scratch memory, entry_of(i) in order. Parameters of kernels bring it: a copy from the host's memory would
// have to be waited for, and a captured graph would read that memory again when it has long been something else.
template <class Entry, class EntryOf>
Status upload_table(Context& context, int count, EntryOf&& entry_of, Entry** table) {
  static_assert(sizeof(Entry) % 16 == 0 && std::is_trivially_copyable_v<Entry>);
  void* memory = nullptr;
  TILEWISE_RETURN_IF_ERROR(context.scratch(sizeof(Entry) * static_cast<size_t>(count > 0 ? count : 1), &memory));
  *table = static_cast<Entry*>(memory);
  constexpr int kMost = Carried::kBytes / static_cast<int>(sizeof(Entry));
  for (int first = 0; first < count; first += kMost) {
    const int entries = count - first < kMost ? count - first : kMost;
    Carried carried{};
    for (int i = 0; i < entries; ++i) {
      const Entry entry = entry_of(first + i);
      std::memcpy(reinterpret_cast<unsigned char*>(&carried) + sizeof(Entry) * i, &entry, sizeof(Entry));
    }
    const LaunchShape shape{"write_table", dim3(1), dim3(static_cast<unsigned>(entries * sizeof(Entry) / 16))};
    TILEWISE_RETURN_IF_ERROR(launch(gpu_of(context), shape, write_table, carried, reinterpret_cast<Vec<uint32_t, 4>*>(*table + first)));
  }
  return Status::ok();
}

// The entry that the block's piece is of, by its `first_piece` and `count`. All threads of the block call it, once.
template <class Entry>
__device__ __forceinline__ int entry_of_piece(const Entry* table, int count, int64_t piece) {
  SHARED_ARRAY(int, found, 1);
  for (int i = threadIdx.x; i < count; i += blockDim.x) {
    const int64_t first = table[i].first_piece;
    if (first <= piece && piece < first + (table[i].count + kPiece - 1) / kPiece) found[0] = i;
  }
  __syncthreads();
  return found[0];
}

}  // namespace tilewise::TILEWISE_GPU
