// CUDA's names for the host compiler, on the machine of fibers: what kernel text of native/cuda may use, spelled as CUDA spells it.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <type_traits>

#include "machine.h"
#include "runtime.h"

#define __global__
#define __device__
#define __host__
#define __constant__ const
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __restrict__ __restrict

#define threadIdx (::tilewise::simt::Machine::active()->current().index)
#define blockIdx (::tilewise::simt::Machine::active()->block_index())
#define blockDim (::tilewise::simt::Machine::active()->block_size())
#define gridDim (::tilewise::simt::Machine::active()->grid())

// T name[count] in shared memory, of trivial type. CUDA's `__shared__ T name[count]`, with an address that the machine knows.
#define SHARED_ARRAY(T, name, count) \
  static const char name##_tag = 0;  \
  T* const name = static_cast<T*>(::tilewise::simt::Machine::active()->static_shared(&name##_tag, sizeof(T) * (count), alignof(T)))

namespace tilewise::simt {

template <class T>
T* dynamic_smem() {
  return static_cast<T*>(Machine::active()->dynamic_shared());
}

// --- barriers and fences
inline void __syncthreads(TILEWISE_SITE) { Machine::active()->block_barrier(Machine::Vote::none, false, site); }
inline int __syncthreads_or(int predicate, TILEWISE_SITE) { return Machine::active()->block_barrier(Machine::Vote::any, predicate, site); }
inline int __syncthreads_and(int predicate, TILEWISE_SITE) { return Machine::active()->block_barrier(Machine::Vote::all, predicate, site); }
inline int __syncthreads_count(int predicate, TILEWISE_SITE) {
  return Machine::active()->block_barrier(Machine::Vote::count, predicate, site);
}
inline void __threadfence(TILEWISE_SITE) { Machine::active()->skips(site, "fence"); }
inline void __threadfence_block(TILEWISE_SITE) { Machine::active()->skips(site, "fence"); }
inline void __syncwarp(uint32_t mask = 0xffffffffu, TILEWISE_SITE) {
  Machine& machine = *Machine::active();
  if (machine.skips(site, "warp barrier")) return;
  machine.collective<char>(mask, "__syncwarp", site, char{0}, [](const char*, char*, uint32_t) {});
}

// --- shuffles and votes
namespace detail {
template <class T>
struct Shuffled {
  T value;
  int source;  // a lane, or -1: one's own value
};
template <class T>
T shuffle(uint32_t mask, const char* what, T value, int source, const Site& site) {
  return Machine::active()->collective<T>(mask, what, site, Shuffled<T>{value, source}, [what](const Shuffled<T>* in, T* out, uint32_t m) {
    for (int lane = 0; lane < kWarpSize; ++lane) {
      if (!(m >> lane & 1)) continue;
      const int from = in[lane].source < 0 ? lane : in[lane].source;
      if (!(m >> from & 1))
        Machine::active()->fail(std::string(what) + ": lane " + std::to_string(lane) + " reads lane " + std::to_string(from) +
                                ", which is not in the mask");
      out[lane] = in[from].value;
    }
  });
}
inline int lane_id() { return Machine::active()->current().lane; }
}  // namespace detail

template <class T>
T __shfl_sync(uint32_t mask, T value, int source, int width = kWarpSize, TILEWISE_SITE) {
  const int segment = detail::lane_id() & ~(width - 1);
  return detail::shuffle(mask, "__shfl_sync", value, segment + (source & (width - 1)), site);
}
template <class T>
T __shfl_xor_sync(uint32_t mask, T value, int lanes, int width = kWarpSize, TILEWISE_SITE) {
  const int lane = detail::lane_id(), source = lane ^ lanes;
  return detail::shuffle(mask, "__shfl_xor_sync", value, source > (lane | (width - 1)) ? -1 : source, site);
}
template <class T>
T __shfl_down_sync(uint32_t mask, T value, unsigned delta, int width = kWarpSize, TILEWISE_SITE) {
  const int lane = detail::lane_id(), source = lane + static_cast<int>(delta);
  return detail::shuffle(mask, "__shfl_down_sync", value, source > (lane | (width - 1)) ? -1 : source, site);
}
template <class T>
T __shfl_up_sync(uint32_t mask, T value, unsigned delta, int width = kWarpSize, TILEWISE_SITE) {
  const int lane = detail::lane_id(), source = lane - static_cast<int>(delta);
  return detail::shuffle(mask, "__shfl_up_sync", value, source < (lane & ~(width - 1)) ? -1 : source, site);
}
inline uint32_t __ballot_sync(uint32_t mask, int predicate, TILEWISE_SITE) {
  return Machine::active()->collective<uint32_t>(mask, "__ballot_sync", site, predicate, [](const int* in, uint32_t* out, uint32_t m) {
    uint32_t bits = 0;
    for (int lane = 0; lane < kWarpSize; ++lane)
      if (m >> lane & 1 && in[lane]) bits |= 1u << lane;
    for (int lane = 0; lane < kWarpSize; ++lane) out[lane] = bits;
  });
}
template <class T, class F>
T warp_join(uint32_t mask, const char* what, T value, F join, const Site& site) {
  return Machine::active()->collective<T>(mask, what, site, value, [join](const T* in, T* out, uint32_t m) {
    T joined{};
    bool first = true;
    for (int lane = 0; lane < kWarpSize; ++lane)
      if (m >> lane & 1) joined = first ? in[lane] : join(joined, in[lane]), first = false;
    for (int lane = 0; lane < kWarpSize; ++lane) out[lane] = joined;
  });
}
// redux.sync (sm_80): 32-bit integers only.
template <class T>
T __reduce_add_sync(uint32_t mask, T value, TILEWISE_SITE) {
  static_assert(std::is_integral_v<T> && sizeof(T) == 4);
  return warp_join(
      mask, "__reduce_add_sync", value, [](T a, T b) { return static_cast<T>(a + b); }, site);
}
template <class T>
T __reduce_min_sync(uint32_t mask, T value, TILEWISE_SITE) {
  static_assert(std::is_integral_v<T> && sizeof(T) == 4);
  return warp_join(
      mask, "__reduce_min_sync", value, [](T a, T b) { return b < a ? b : a; }, site);
}
template <class T>
T __reduce_max_sync(uint32_t mask, T value, TILEWISE_SITE) {
  static_assert(std::is_integral_v<T> && sizeof(T) == 4);
  return warp_join(
      mask, "__reduce_max_sync", value, [](T a, T b) { return a < b ? b : a; }, site);
}
inline int __any_sync(uint32_t mask, int predicate, TILEWISE_SITE) { return __ballot_sync(mask, predicate, site) != 0; }
inline int __all_sync(uint32_t mask, int predicate, TILEWISE_SITE) { return __ballot_sync(mask, predicate, site) == mask; }

// --- atomics: fibers are switched only where they wait, so these are plain
template <class T>
T atomicAdd(T* at, T value) {
  const T old = *at;
  *at = old + value;
  return old;
}
template <class T>
T atomicMax(T* at, T value) {
  const T old = *at;
  if (value > old) *at = value;
  return old;
}
template <class T>
T atomicMin(T* at, T value) {
  const T old = *at;
  if (value < old) *at = value;
  return old;
}
template <class T>
T atomicExch(T* at, T value) {
  const T old = *at;
  *at = value;
  return old;
}
template <class T>
T atomicCAS(T* at, T expected, T value) {
  const T old = *at;
  if (old == expected) *at = value;
  return old;
}
template <class T>
T atomicOr(T* at, T value) {
  const T old = *at;
  *at = old | value;
  return old;
}

// --- vector types, and loads of memory that the launch does not write
struct alignas(8) uint2 {
  uint32_t x, y;
};
struct alignas(16) uint4 {
  uint32_t x, y, z, w;
};
template <class T>
T __ldg(const T* from) {
  return *from;
}

// --- arithmetic
template <class T>
constexpr T min(T a, T b) {
  return b < a ? b : a;
}
template <class T>
constexpr T max(T a, T b) {
  return a < b ? b : a;
}
inline uint32_t __float_as_uint(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return bits;
}
inline float __uint_as_float(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}
inline int __float_as_int(float x) { return static_cast<int>(__float_as_uint(x)); }
inline float __int_as_float(int bits) { return __uint_as_float(static_cast<uint32_t>(bits)); }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline int __popc(uint32_t x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x ? __builtin_clz(static_cast<unsigned>(x)) : 32; }
inline uint32_t __umulhi(uint32_t a, uint32_t b) { return static_cast<uint32_t>((uint64_t{a} * b) >> 32); }

// --- what the accessors of cuda/prim tell the counters. The place is kept for reports even when nothing is counted.
inline void note_access(Counters::Space space, const void* address, uint32_t bytes, const Site& site) {
  Machine& machine = *Machine::active();
  Thread& thread = machine.current();
  thread.site = site;
  if (machine.counting) machine.counters().access(space, thread.warp, thread.linear, reinterpret_cast<uintptr_t>(address), bytes, site);
}
inline void note_load(const void* address, uint32_t bytes, const Site& site) { note_access(Counters::Space::load, address, bytes, site); }
inline void note_store(const void* address, uint32_t bytes, const Site& site) { note_access(Counters::Space::store, address, bytes, site); }
inline void note_shared(const void* address, uint32_t bytes, const Site& site) {
  note_access(Counters::Space::shared, address, bytes, site);
}

// --- launch
// Declared here for kernel text; native/cuda/errors.h.
Status launch_status(cudaError_t error, const char* kernel);

template <class... P, class... A>
Status launch(const Gpu& gpu, const LaunchShape& shape, void (*kernel)(P...), A... arguments) {
  if (shape.grid.count() == 0) return Status::ok();
  LaunchShape own = shape;
  own.function = reinterpret_cast<const void*>(kernel);
  auto body = [kernel, parameters = std::tuple<std::decay_t<P>...>(static_cast<P>(arguments)...)] { std::apply(kernel, parameters); };
  return launch_status(run_on(gpu.stream, own, std::move(body)), shape.name);
}

}  // namespace tilewise::simt

// Passed along by functions of kernel text that synchronize or access memory, so that reports name their callers' lines.
#define SITE TILEWISE_SITE
