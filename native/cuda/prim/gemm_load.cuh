// From global memory to a stage of shared memory: what a block reads of one factor for one tile of k.
#pragma once
#include "../ptx/copy_async.cuh"
#include "gemm_fragments.cuh"

namespace tilewise::TILEWISE_GPU {

// What a loader is to read. Halved: a tile's lines from Lines / 2 on lie `gap` lines further, the up columns beside those of the gate.
template <class T>
struct LoadFrom {
  const T* data;
  int64_t line_stride, k_stride;
  int first_line, lines;  // lines: those that exist of the whole factor, halved: of its first half
  bool halved;
  int gap;
  int k;  // of the whole factor
};

__device__ __forceinline__ int clamp(int value, int low, int high) { return value < low ? low : value > high ? high : value; }

// By cp.async, 16 bytes a lane: what lies outside becomes zero.
template <class T, Major major, int Lines, int Threads>
class AsyncLoader {
  using Tile = SharedTile<T, major, Lines>;
  static constexpr int kChunk = Tile::kChunk, kDepth = Tile::kDepth;
  static constexpr int kPassRows = Threads / Tile::kRowChunks;  // rows of the tile that the block copies at once
  static constexpr int kPasses = Tile::kRows / kPassRows;
  static_assert(kPassRows % Tile::kPeriod == 0 && kPasses * kPassRows == Tile::kRows);
  static_assert(major == Major::line || kPasses % 2 == 0);  // the halves of a gated factor

 public:
  __device__ __forceinline__ AsyncLoader(const LoadFrom<T>& f, const GemmSegment* segments, int segment_count, int first_tile)
      : k_(f.k), segments_(segments), segment_count_(segment_count) {
    const int row = threadIdx.x / Tile::kRowChunks, chunk = threadIdx.x % Tile::kRowChunks;
    shared_ = Tile::offset(row, chunk);
    if constexpr (major == Major::k) {
      line_ = f.first_line + row;
      at_k_ = first_tile * kDepth + chunk * kChunk;
      from_ = f.data + line_ * f.line_stride + at_k_;
      pass_step_ = kPassRows * f.line_stride;
      gap_step_ = f.gap * f.line_stride;
      valid_ = 0;
#pragma unroll
      for (int p = 0; p < kPasses; ++p)
        valid_ |= static_cast<uint32_t>(line_ + p % (f.halved ? kPasses / 2 : kPasses) * kPassRows < f.lines) << p;
    } else {
      at_k_ = first_tile * kDepth + row;
      const int line = f.first_line + chunk * kChunk;
      from_ = f.data + at_k_ * f.k_stride + line;
      pass_step_ = kPassRows * f.k_stride;
      valid_ = clamp((f.lines - line) * static_cast<int>(sizeof(T)), 0, 16);
    }
  }

  // Begins to fill a stage with the next tile.
  __device__ __forceinline__ void start(unsigned char* stage) {
    unsigned char* to = stage + shared_;
    if constexpr (major == Major::k) {
      while (segment_count_ > 0 && at_k_ >= segments_->first_k) {
        from_ = static_cast<const T*>(segments_->data) + line_ * segments_->line_stride + (at_k_ - segments_->first_k);
        pass_step_ = kPassRows * segments_->line_stride;
        ++segments_, --segment_count_;
      }
      const int bytes = clamp((k_ - at_k_) * static_cast<int>(sizeof(T)), 0, 16);
#pragma unroll
      for (int p = 0; p < kPasses; ++p) {
        const T* from = from_ + p * pass_step_ + (p < kPasses / 2 ? 0 : gap_step_);
        copy_async<16>(to + p * kPassRows * Tile::kRowBytes, from, valid_ >> p & 1 ? bytes : 0);
      }
      from_ += kDepth;
    } else {
#pragma unroll
      for (int p = 0; p < kPasses; ++p)
        copy_async<16>(to + p * kPassRows * Tile::kRowBytes, from_ + p * pass_step_,
                       at_k_ + p * kPassRows < k_ ? static_cast<int>(valid_) : 0);
      from_ += kPasses * pass_step_;
    }
    at_k_ += kDepth;
  }
  // Where what was begun has to be given by the thread itself.
  __device__ __forceinline__ void finish() {}

 private:
  const T* from_;
  int64_t pass_step_, gap_step_ = 0;
  int shared_, at_k_, k_, line_ = 0;
  uint32_t valid_;  // k-major: a bit for each pass's line; else the bytes of a chunk
  const GemmSegment* segments_;
  int segment_count_;
};

// Element by element, for any strides and alignment, to a tile in which k is contiguous. Values wait in registers while the block computes.
template <class T, int Lines, int Threads>
class ElementLoader {
  using Tile = SharedTile<T, Major::k, Lines>;
  static constexpr int kDepth = Tile::kDepth;
  static constexpr int kEach = Lines * kDepth / Threads;

 public:
  __device__ __forceinline__ ElementLoader(const LoadFrom<T>& f, const GemmSegment* segments, int segment_count, int first_tile)
      : f_(f), segments_(segments), segment_count_(segment_count), at_k_(first_tile * kDepth), along_k_(f.k_stride <= f.line_stride) {}

  __device__ __forceinline__ void start(unsigned char* stage) {
    stage_ = stage;
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      const int line = line_of(i), k = at_k_ + k_of(i);
      const bool second = f_.halved && line >= Lines / 2;
      const bool exists = f_.first_line + line - (second ? Lines / 2 : 0) < f_.lines && k < f_.k;
      if (!exists) {
        values_[i] = T(0.0f);
        continue;
      }
      const int64_t row = f_.first_line + line + (second ? f_.gap : 0);
      const T* data = f_.data;
      int64_t stride = f_.line_stride, inner = k;
      for (int s = 0; s < segment_count_; ++s)
        if (k >= segments_[s].first_k) {
          data = static_cast<const T*>(segments_[s].data);
          stride = segments_[s].line_stride;
          inner = k - segments_[s].first_k;
        }
      values_[i] = load(data + row * stride + inner * f_.k_stride)[0];
    }
    at_k_ += kDepth;
  }
  __device__ __forceinline__ void finish() {
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      const int line = line_of(i), k = k_of(i);
      T* to = reinterpret_cast<T*>(stage_ + Tile::offset(line, k / Tile::kChunk)) + k % Tile::kChunk;
      store_shared(to, Vec<T, 1>{{values_[i]}});
    }
  }

 private:
  // Neighbouring lanes take neighbours in memory.
  __device__ __forceinline__ int line_of(int i) const {
    const int e = i * Threads + threadIdx.x;
    return along_k_ ? e / kDepth : e % Lines;
  }
  __device__ __forceinline__ int k_of(int i) const {
    const int e = i * Threads + threadIdx.x;
    return along_k_ ? e % kDepth : e / Lines;
  }

  LoadFrom<T> f_;
  const GemmSegment* segments_;
  int segment_count_;
  int at_k_;
  bool along_k_;
  unsigned char* stage_ = nullptr;
  T values_[kEach];
};

}  // namespace tilewise::TILEWISE_GPU
