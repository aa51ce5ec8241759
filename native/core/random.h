// Random numbers from a counter: Philox4x32-10, the twin of lib/random.ts, whose convention holds on every device. Element i of a draw is
// lane i & 3 of block i >> 2; a uniform number is (u32 >> 8) * 2^-24. The same seed, counter and element give the same bits everywhere.
#pragma once
#include <cstdint>
#include <cstring>

#include "scalar.h"

#if defined(__SSE2__) && !defined(__CUDACC__)
#include <immintrin.h>
#endif

namespace tilewise::random {

constexpr uint32_t kMultiplier0 = 0xd2511f53u, kMultiplier1 = 0xcd9e8d57u, kWeyl0 = 0x9e3779b9u, kWeyl1 = 0xbb67ae85u;

struct Words4 {
  uint32_t lane[4];
};

// One block: ten rounds over (block, counter), keyed by seed.
TILEWISE_SCALAR Words4 philox4x32(uint64_t seed, uint64_t counter, uint64_t block) {
  uint32_t c0 = static_cast<uint32_t>(block), c1 = static_cast<uint32_t>(block >> 32);
  uint32_t c2 = static_cast<uint32_t>(counter), c3 = static_cast<uint32_t>(counter >> 32);
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = static_cast<uint64_t>(kMultiplier0) * c0, product1 = static_cast<uint64_t>(kMultiplier1) * c2;
    c0 = static_cast<uint32_t>(product1 >> 32) ^ c1 ^ k0;
    c1 = static_cast<uint32_t>(product1);
    c2 = static_cast<uint32_t>(product0 >> 32) ^ c3 ^ k1;
    c3 = static_cast<uint32_t>(product0);
    k0 += kWeyl0;
    k1 += kWeyl1;
  }
  return {{c0, c1, c2, c3}};
}

// In [0, 1), a multiple of 2^-24: exact in f32.
TILEWISE_SCALAR float uniform(uint32_t word) { return static_cast<float>(static_cast<int32_t>(word >> 8)) * 0x1p-24f; }

// Whether dropout with probability p keeps the element that drew `word`.
TILEWISE_SCALAR bool keep(uint32_t word, float p) { return uniform(word) >= p; }

// `value` where `kept`, else 0, without a branch: it would be mispredicted as often as elements are dropped (8 times the time of a pass).
TILEWISE_SCALAR float value_if(bool kept, float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  bits &= kept ? 0xffffffffu : 0u;
  std::memcpy(&value, &bits, 4);
  return value;
}

// One element by its index: for tails and tests; each_run() and what stands on it fill whole runs.
TILEWISE_SCALAR uint32_t word(uint64_t seed, uint64_t counter, uint64_t element) {
  return philox4x32(seed, counter, element >> 2).lane[element & 3];
}

#if !defined(__CUDACC__)
namespace detail {

// One block a 64-bit lane, its 32-bit words in the lower half: what the upper half holds never matters, so a round is two widening
// multiplications, two shifts and two xors. Written with GCC's vectors, because its loop vectorizer takes full 64-bit products (vpmullq,
// three times slower with AVX-512); only the multiplication needs the instruction by name.
#if defined(__AVX512F__)
constexpr int kLanes = 8;
typedef uint64_t Lanes __attribute__((vector_size(64), may_alias));
constexpr Lanes kIota = {0, 1, 2, 3, 4, 5, 6, 7};
// The form with a mask: GCC 12 warns of an uninitialized value in its own header's other one.
TILEWISE_SCALAR Lanes multiply_low(Lanes a, Lanes b) { return (Lanes)_mm512_maskz_mul_epu32(0xff, (__m512i)a, (__m512i)b); }
#elif defined(__AVX2__)
constexpr int kLanes = 4;
typedef uint64_t Lanes __attribute__((vector_size(32), may_alias));
constexpr Lanes kIota = {0, 1, 2, 3};
TILEWISE_SCALAR Lanes multiply_low(Lanes a, Lanes b) { return (Lanes)_mm256_mul_epu32((__m256i)a, (__m256i)b); }
#else
constexpr int kLanes = 2;
typedef uint64_t Lanes __attribute__((vector_size(16), may_alias));
constexpr Lanes kIota = {0, 1};
#if defined(__SSE2__)
TILEWISE_SCALAR Lanes multiply_low(Lanes a, Lanes b) { return (Lanes)_mm_mul_epu32((__m128i)a, (__m128i)b); }
#else
TILEWISE_SCALAR Lanes multiply_low(Lanes a, Lanes b) { return (a & 0xffffffffu) * (b & 0xffffffffu); }
#endif
#endif

}  // namespace detail

// What one pass makes: four vectors at once hide the latency of the multiplications.
constexpr int kRunVectors = 4;
constexpr int kRun = 4 * detail::kLanes * kRunVectors;

// The kRun elements from block `block` on, in order. `out` is 64-byte aligned.
inline void philox_run(uint64_t seed, uint64_t counter, uint64_t block, uint32_t* out) {
  using detail::Lanes;
  constexpr uint64_t kLow = 0xffffffffu;
  Lanes c0[kRunVectors], c1[kRunVectors], c2[kRunVectors], c3[kRunVectors];
  for (int v = 0; v < kRunVectors; ++v) {
    c0[v] = detail::kIota + (block + static_cast<uint64_t>(v * detail::kLanes));
    c1[v] = c0[v] >> 32;
    c2[v] = Lanes{} + (counter & kLow);
    c3[v] = Lanes{} + (counter >> 32);
  }
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    for (int v = 0; v < kRunVectors; ++v) {
      const Lanes product0 = detail::multiply_low(c0[v], Lanes{} + kMultiplier0);
      const Lanes product1 = detail::multiply_low(c2[v], Lanes{} + kMultiplier1);
      c0[v] = (product1 >> 32) ^ c1[v] ^ k0;
      c1[v] = product1;
      c2[v] = (product0 >> 32) ^ c3[v] ^ k1;
      c3[v] = product0;
    }
    k0 += kWeyl0;
    k1 += kWeyl1;
  }
  typedef uint64_t Pair __attribute__((may_alias));
  Pair* pairs = reinterpret_cast<Pair*>(out);
  for (int v = 0; v < kRunVectors; ++v) {
    const Lanes first = (c0[v] & kLow) | (c1[v] << 32), second = (c2[v] & kLow) | (c3[v] << 32);
    for (int i = 0; i < detail::kLanes; ++i) {
      pairs[2 * (v * detail::kLanes + i)] = first[i];
      pairs[2 * (v * detail::kLanes + i) + 1] = second[i];
    }
  }
}

// Calls run(offset, n, words) for consecutive pieces of the elements [first, first + count): offset counts from `first`, n is at most kRun.
// Whole runs are computed at once; only the ends of an unaligned range compute words that nobody uses.
template <class Run>
inline void each_run(uint64_t seed, uint64_t counter, uint64_t first, int64_t count, Run&& run) {
  alignas(64) uint32_t words[kRun];
  for (int64_t done = 0; done < count;) {
    const uint64_t element = first + static_cast<uint64_t>(done);
    const int64_t skip = static_cast<int64_t>(element & 3);
    const int64_t n = kRun - skip < count - done ? kRun - skip : count - done;
    philox_run(seed, counter, element >> 2, words);
    run(done, n, static_cast<const uint32_t*>(words) + skip);
    done += n;
  }
}

// out[i] = the uniform number of element first + i. Any first and count; after an unaligned start all runs are aligned.
inline void uniforms(uint64_t seed, uint64_t counter, uint64_t first, int64_t count, float* out) {
  each_run(seed, counter, first, count, [out](int64_t offset, int64_t n, const uint32_t* words) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) out[offset + i] = uniform(words[i]);
  });
}

// out[i] = 0 where dropout drops element first + i, else `kept` (1 / (1 - p) as a rule).
inline void dropout_mask(uint64_t seed, uint64_t counter, uint64_t first, int64_t count, float p, float kept, float* out) {
  each_run(seed, counter, first, count, [out, p, kept](int64_t offset, int64_t n, const uint32_t* words) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) out[offset + i] = keep(words[i], p) ? kept : 0.0f;
  });
}

// values[i] = kept * values[i] where dropout keeps element first + i, else 0, in place.
inline void apply_dropout(uint64_t seed, uint64_t counter, uint64_t first, int64_t count, float p, float kept, float* values) {
  each_run(seed, counter, first, count, [values, p, kept](int64_t offset, int64_t n, const uint32_t* words) {
    float* run = values + offset;
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) run[i] = value_if(keep(words[i], p), kept * run[i]);
  });
}

#endif  // not CUDA

}  // namespace tilewise::random
