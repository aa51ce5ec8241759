// Accesses of up to 16 bytes a lane. Global memory goes through load and store, shared memory that matters through load_shared and
// store_shared: the machine of fibers counts sectors and bank conflicts there.
#pragma once
#include "../../simt/simt.h"

namespace tilewise::TILEWISE_GPU {

template <class T, int N>
struct alignas(sizeof(T) * N) Vec {
  T data[N];
  __device__ __forceinline__ T& operator[](int i) { return data[i]; }
  __device__ __forceinline__ const T& operator[](int i) const { return data[i]; }
};

// Elements in the widest access.
template <class T>
constexpr int kVector = 16 / sizeof(T);

template <int N = 1, class T>
__device__ __forceinline__ Vec<T, N> load(const T* from, SITE) {
  note_load(from, sizeof(T) * N, site);
  return *reinterpret_cast<const Vec<T, N>*>(from);
}
// The same from memory that no thread of the launch writes: the compiler may move it across stores, so that loads overlap.
template <int N = 1, class T>
__device__ __forceinline__ Vec<T, N> load_constant(const T* from, SITE) {
  using Word = std::conditional_t<
      sizeof(T) * N == 16, uint4,
      std::conditional_t<sizeof(T) * N == 8, uint2,
                         std::conditional_t<sizeof(T) * N == 4, uint32_t, std::conditional_t<sizeof(T) * N == 2, uint16_t, uint8_t>>>>;
  static_assert(sizeof(Word) == sizeof(T) * N);
  note_load(from, sizeof(T) * N, site);
  const Word word = __ldg(reinterpret_cast<const Word*>(from));
  Vec<T, N> value;
  memcpy(static_cast<void*>(&value), &word, sizeof word);
  return value;
}
// N elements as they lie in memory. Those that wait for their turn are kept like this: nvcc takes 16-bit elements apart where it can, which
// waits for them.
template <class T, int N>
struct Packed {
  static constexpr int kWords = static_cast<int>((sizeof(T) * N + 3) / 4);
  Vec<uint32_t, kWords> words;
  Packed() = default;
  __device__ __forceinline__ explicit Packed(const Vec<T, N>& value) { memcpy(&words, static_cast<const void*>(&value), sizeof value); }
  __device__ __forceinline__ Vec<T, N> unpack() const {
    Vec<T, N> value;
    memcpy(static_cast<void*>(&value), &words, sizeof value);
    return value;
  }
};
template <int N, class T>
__device__ __forceinline__ Packed<T, N> load_packed(const T* from, SITE) {
  static_assert(sizeof(T) * N % 4 == 0);
  Packed<T, N> value;
  value.words = load<Packed<T, N>::kWords>(reinterpret_cast<const uint32_t*>(from), site);
  return value;
}
template <int N, class T>
__device__ __forceinline__ void store(T* to, const Vec<T, N>& value, SITE) {
  note_store(to, sizeof(T) * N, site);
  *reinterpret_cast<Vec<T, N>*>(to) = value;
}
template <int N = 1, class T>
__device__ __forceinline__ Vec<T, N> load_shared(const T* from, SITE) {
  note_shared(from, sizeof(T) * N, site);
  return *reinterpret_cast<const Vec<T, N>*>(from);
}
template <int N, class T>
__device__ __forceinline__ void store_shared(T* to, const Vec<T, N>& value, SITE) {
  note_shared(to, sizeof(T) * N, site);
  *reinterpret_cast<Vec<T, N>*>(to) = value;
}

// Puts the first piece last: a loop that is not unrolled works on piece 0, so that no register needs an index.
template <class Piece, int K>
__device__ __forceinline__ void rotate(Piece (&tile)[K]) {
  const Piece first = tile[0];
#pragma unroll
  for (int k = 1; k < K; ++k) tile[k - 1] = tile[k];
  tile[K - 1] = first;
}

// One element, widened to f32 or rounded from it.
template <class T>
__device__ __forceinline__ float load_float(const T* from, SITE) {
  note_load(from, sizeof(T), site);
  return static_cast<float>(*from);
}
template <class T>
__device__ __forceinline__ void store_float(T* to, float value, SITE) {
  note_store(to, sizeof(T), site);
  *to = T(value);
}

// Whether 16-byte accesses may start here; for launchers.
inline bool aligned16(const void* address) { return reinterpret_cast<uintptr_t>(address) % 16 == 0; }

}  // namespace tilewise::TILEWISE_GPU
