// The machine of fibers: that it runs right kernels right, and says of wrong ones what is wrong. Each wrong kernel is one that a GPU may
// run without complaint.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "cuda/prim/reduce.cuh"
#include "cuda/prim/vector.cuh"
#include "cuda/ptx/copy_async.cuh"
#include "cuda/ptx/mma.cuh"
#include "cuda/staging.h"
#include "simt/memory.h"

namespace tilewise::simt {
namespace {

int g_checks = 0;

#define CHECK(condition)                                                                   \
  do {                                                                                     \
    ++g_checks;                                                                            \
    if (!(condition)) {                                                                    \
      std::printf("simt_test: %s:%d: CHECK(%s) failed\n", __FILE__, __LINE__, #condition); \
      std::exit(1);                                                                        \
    }                                                                                      \
  } while (0)

#define CHECK_SAYS(status, words)                                                                                  \
  do {                                                                                                             \
    ++g_checks;                                                                                                    \
    const Status said = (status);                                                                                  \
    if (said || said.message.find(words) == std::string::npos) {                                                   \
      std::printf("simt_test: %s:%d: expected '%s', got '%s'\n", __FILE__, __LINE__, words, said.message.c_str()); \
      std::exit(1);                                                                                                \
    }                                                                                                              \
  } while (0)

constexpr Schedule kSchedules[] = {Schedule::in_order, Schedule::warp_greedy, Schedule::warp_greedy_reversed};

struct Device {
  Stream stream;
  Gpu gpu;

  explicit Device(Schedule schedule = Schedule::in_order) {
    stream.machine.schedule = schedule;
    gpu.stream = &stream;
  }
};

// Memory between guard pages, checked when it goes.
template <class T>
struct Buffer {
  T* data;
  explicit Buffer(size_t count) : data(static_cast<T*>(guarded_allocate(count * sizeof(T)))) {}
  ~Buffer() { CHECK(guarded_release(data).empty()); }
};

// --- the device around the kernels

// Copies happen as late as a GPU may do them, so what reuses its pinned memory too early shows here.
void transfers() {
  Stream stream;
  Staging staging(&stream);
  const size_t count = (size_t{41} << 20) / 4 + 3;  // beyond the ring, in pieces that do not divide it
  Buffer<uint32_t> device(count);
  std::vector<uint32_t> host(count), back(count);
  for (size_t i = 0; i < count; ++i) host[i] = static_cast<uint32_t>(i * 2654435761u);
  CHECK(staging.upload(device.data, host.data(), count * 4));
  const std::vector<uint32_t> expected = host;
  std::fill(host.begin(), host.end(), 0);  // the caller's memory is its own again
  CHECK(staging.download(back.data(), device.data, count * 4));
  CHECK(back == expected);
  // Small ones, many times round the ring.
  for (uint32_t i = 0; i < 200000; ++i) {
    const uint32_t pair[2] = {i, ~i};
    CHECK(staging.upload(device.data + i % 1000 * 2, pair, 8));
    if (i % 50000 == 49999) {
      uint32_t got[2];
      CHECK(staging.download(got, device.data + i % 1000 * 2, 8));
      CHECK(got[0] == i && got[1] == ~i);
    }
  }
  CHECK(staging.upload(device.data, nullptr, 0));
  CHECK(staging.download(nullptr, device.data, 0));
  CHECK(cudaStreamSynchronize(&stream) == cudaSuccess);
}

void errors() {
  for (int error : {226, 700, 702, 710, 714, 715, 716, 717, 718, 719, 721, 810, 911}) CHECK(is_sticky(error));
  for (int error : {0, 1, 2, 9, 35, 98, 100, 209, 701, 713, 720, 900, 999}) CHECK(!is_sticky(error));
  CHECK(status_of(cudaSuccess, "work"));
  CHECK(status_of(cudaErrorMemoryAllocation, "work").code == Code::out_of_memory);
  CHECK(status_of(cudaErrorIllegalAddress, "work").code == Code::device_lost);
  CHECK(status_of(cudaErrorInvalidValue, "work").code == Code::device_error);
  CHECK_SAYS(status_of(cudaErrorInvalidValue, "work"), "work: cudaErrorInvalidValue (cudaErrorInvalidValue, 1)");
}

// A graph holds launches with their arguments, and runs them when it is launched, not before.
__global__ void add_kernel(float* x, float value) { x[threadIdx.x] += value; }

void graphs() {
  Device device;
  Buffer<float> x(32);
  CHECK(cudaMemsetAsync(x.data, 0, 128, &device.stream) == cudaSuccess);
  CHECK(cudaStreamBeginCapture(&device.stream, cudaStreamCaptureModeRelaxed) == cudaSuccess);
  CHECK(launch(device.gpu, {"add", 1, 32}, add_kernel, x.data, 1.0f));
  CHECK(launch(device.gpu, {"add", 1, 32}, add_kernel, x.data, 2.0f));
  CHECK(cudaStreamSynchronize(&device.stream) == cudaErrorStreamCaptureUnsupported);
  cudaGraph_t graph;
  cudaGraphExec_t executable;
  CHECK(cudaStreamEndCapture(&device.stream, &graph) == cudaSuccess);
  CHECK(cudaGraphInstantiate(&executable, graph, 0) == cudaSuccess);
  CHECK(cudaGraphDestroy(graph) == cudaSuccess);
  CHECK(cudaStreamSynchronize(&device.stream) == cudaSuccess);
  CHECK(x.data[5] == 0.0f);
  for (int i = 0; i < 3; ++i) CHECK(cudaGraphLaunch(executable, &device.stream) == cudaSuccess);
  CHECK(cudaStreamSynchronize(&device.stream) == cudaSuccess);
  CHECK(x.data[5] == 9.0f);
  CHECK(cudaGraphExecDestroy(executable) == cudaSuccess);
}

// --- right kernels

__global__ void index_kernel(int* out) {
  const int block = static_cast<int>(blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z));
  const int thread = static_cast<int>(threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z));
  const int threads = static_cast<int>(blockDim.x * blockDim.y * blockDim.z);
  out[block * threads + thread] = block * 1000 + thread;
}

void indices() {
  for (Schedule schedule : kSchedules) {
    Device device(schedule);
    Buffer<int> out(2 * 3 * 2 * 60);
    CHECK(launch(device.gpu, {"index", dim3(2, 3, 2), dim3(5, 4, 3)}, index_kernel, out.data));
    for (int block = 0; block < 12; ++block)
      for (int thread = 0; thread < 60; ++thread) CHECK(out.data[block * 60 + thread] == block * 1000 + thread);
  }
}

__global__ void sum_kernel(const float* x, float* y, int count) {
  float value = 0;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(blockDim.x)) value += x[i];
  const float first = block_reduce<Add>(value), second = block_reduce<Add>(2 * value);
  if (threadIdx.x == 0) y[0] = first, y[1] = second;
}

void reductions() {
  for (Schedule schedule : kSchedules)
    for (unsigned threads : {32u, 96u, 1024u}) {
      Device device(schedule);
      Buffer<float> x(5000), y(2);
      for (int i = 0; i < 5000; ++i) x.data[i] = static_cast<float>(i % 7);
      CHECK(launch(device.gpu, {"sum", 1, threads}, sum_kernel, static_cast<const float*>(x.data), y.data, 5000));
      float expected = 0;
      for (int i = 0; i < 5000; ++i) expected += x.data[i];
      CHECK(y.data[0] == expected);
    }
}

__global__ void shuffle_kernel(int* out) {
  const int lane = static_cast<int>(threadIdx.x);
  out[lane] = __shfl_sync(kFullMask, lane, 5);
  out[32 + lane] = __shfl_xor_sync(kFullMask, lane, 9);
  out[64 + lane] = __shfl_down_sync(kFullMask, lane, 3);
  out[96 + lane] = __shfl_up_sync(kFullMask, lane, 3, 8);
  out[128 + lane] = static_cast<int>(__ballot_sync(kFullMask, lane % 3 == 0));
  out[160 + lane] = __reduce_add_sync(kFullMask, lane);
  // The halves of a warp on their own, as subwarps do.
  const uint32_t half = lane < 16 ? 0x0000ffffu : 0xffff0000u;
  int total = 0;
  for (int i = 0; i < (lane < 16 ? 2 : 5); ++i) total += __shfl_xor_sync(half, lane, 1);
  out[192 + lane] = total;
}

void shuffles() {
  for (Schedule schedule : kSchedules) {
    Device device(schedule);
    Buffer<int> out(224);
    CHECK(launch(device.gpu, {"shuffle", 1, 32}, shuffle_kernel, out.data));
    for (int lane = 0; lane < 32; ++lane) {
      CHECK(out.data[lane] == 5);
      CHECK(out.data[32 + lane] == (lane ^ 9));
      CHECK(out.data[64 + lane] == (lane + 3 < 32 ? lane + 3 : lane));
      CHECK(out.data[96 + lane] == (lane % 8 < 3 ? lane : lane - 3));
      CHECK(out.data[128 + lane] == 0x49249249);
      CHECK(out.data[160 + lane] == 496);
      CHECK(out.data[192 + lane] == (lane ^ 1) * (lane < 16 ? 2 : 5));
    }
  }
}

// A producer warp and a consumer warp take turns over two named barriers.
__global__ void roles_kernel(int* out) {
  SHARED_ARRAY(int, slot, 32);
  const int lane = static_cast<int>(threadIdx.x) % 32;
  constexpr int kFull = 1, kEmpty = 2;
  for (int i = 0; i < 4; ++i) {
    Machine& machine = *Machine::active();
    if (threadIdx.x < 32) {
      if (i > 0) machine.named_barrier(kEmpty, 64, true, {__FILE__, __LINE__});
      slot[lane] = 100 * i + lane;
      machine.named_barrier(kFull, 64, false, {__FILE__, __LINE__});
    } else {
      machine.named_barrier(kFull, 64, true, {__FILE__, __LINE__});
      out[32 * i + lane] = slot[31 - lane];
      if (i < 3) machine.named_barrier(kEmpty, 64, false, {__FILE__, __LINE__});
    }
  }
}

void roles() {
  for (Schedule schedule : kSchedules) {
    Device device(schedule);
    Buffer<int> out(128);
    CHECK(launch(device.gpu, {"roles", 1, 64}, roles_kernel, out.data));
    for (int i = 0; i < 128; ++i) CHECK(out.data[i] == 100 * (i / 32) + 31 - i % 32);
  }
}

// --- matrix instructions: against products written out

template <class T>
__global__ void mma_kernel(const float* a, const float* b, float* d) {
  constexpr int K = kMmaDepth<T>, per = 16 / K == 2 ? 1 : 2;
  const int g = static_cast<int>(threadIdx.x) / 4, t = static_cast<int>(threadIdx.x) % 4;
  auto word = [](float low, float high) -> uint32_t {
    if constexpr (std::is_same_v<T, tf32>)
      return __float_as_uint(low);
    else
      return static_cast<uint32_t>(T(low).bits) | static_cast<uint32_t>(T(high).bits) << 16;
  };
  uint32_t ra[4], rb[2];
  for (int r = 0; r < 4; ++r) {
    const float* at = a + (g + 8 * (r % 2)) * K + per * t + K / 2 * (r / 2);
    ra[r] = word(at[0], per == 2 ? at[1] : 0);
  }
  for (int r = 0; r < 2; ++r) {
    const float* at = b + g * K + per * t + K / 2 * r;  // column-major: [n][k]
    rb[r] = word(at[0], per == 2 ? at[1] : 0);
  }
  float rd[4] = {1, 2, 3, 4};
  mma<T>(rd, ra, rb);
  for (int r = 0; r < 4; ++r) d[(g + 8 * (r / 2)) * 8 + 2 * t + r % 2] = rd[r];
}

template <class T>
void matrix_product() {
  constexpr int K = kMmaDepth<T>;
  Device device;
  Buffer<float> a(16 * K), b(8 * K), d(128);
  for (int i = 0; i < 16 * K; ++i) a.data[i] = static_cast<float>(i % 11 - 5);
  for (int i = 0; i < 8 * K; ++i) b.data[i] = static_cast<float>(i % 7 - 3);
  CHECK(launch(device.gpu, {"mma", 1, 32}, mma_kernel<T>, static_cast<const float*>(a.data), static_cast<const float*>(b.data), d.data));
  for (int m = 0; m < 16; ++m)
    for (int n = 0; n < 8; ++n) {
      float expected = static_cast<float>(1 + n % 2 + 2 * (m / 8));
      for (int k = 0; k < K; ++k) expected += a.data[m * K + k] * b.data[n * K + k];
      CHECK(d.data[m * 8 + n] == expected);
    }
}

// A row of 8 elements goes out as it came in, and transposed on the other way.
template <bool Transposed>
__global__ void matrix_move_kernel(const uint16_t* in, uint16_t* out) {
  uint16_t* tile = dynamic_smem<uint16_t>();
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = 0; i < 8; ++i) tile[lane * 8 + i] = in[lane * 8 + i];
  __syncwarp();
  const Registers<4> moved = load_matrix<4, Transposed>(tile + lane * 8);
  __syncwarp();
  store_matrix<4, false>(tile + lane * 8, moved);
  __syncwarp();
  for (int i = 0; i < 8; ++i) out[lane * 8 + i] = tile[lane * 8 + i];
}

void matrix_moves() {
  Device device;
  Buffer<uint16_t> in(256), out(256);
  for (int i = 0; i < 256; ++i) in.data[i] = static_cast<uint16_t>(i);
  const auto* from = static_cast<const uint16_t*>(in.data);
  CHECK(launch(device.gpu, {"move", 1, 32, 512}, matrix_move_kernel<false>, from, out.data));
  for (int i = 0; i < 256; ++i) CHECK(out.data[i] == i);
  CHECK(launch(device.gpu, {"move", 1, 32, 512}, matrix_move_kernel<true>, from, out.data));
  for (int m = 0; m < 4; ++m)
    for (int r = 0; r < 8; ++r)
      for (int c = 0; c < 8; ++c) CHECK(out.data[64 * m + 8 * r + c] == 64 * m + 8 * c + r);
}

void tf32_rounding() {
  CHECK(__uint_as_float(to_tf32(1.0f + 0x1p-11f)) == 1.0f + 0x1p-10f);  // a tie goes away from zero
  CHECK(__uint_as_float(to_tf32(-1.0f - 0x1p-11f)) == -1.0f - 0x1p-10f);
  CHECK(__uint_as_float(to_tf32(1.0f + 0x1p-12f)) == 1.0f);
}

// --- asynchronous copies

__global__ void pipeline_kernel(const float* x, float* y) {
  float* stages = dynamic_smem<float>();
  const int t = static_cast<int>(threadIdx.x);
  copy_async<16>(stages + t * 4, x + t * 4);
  copy_async_commit();
  copy_async<16>(stages + 128 + t * 4, x + 128 + t * 4, t == 31 ? 8 : 16);
  copy_async_commit();
  copy_async_wait<1>();
  for (int i = 0; i < 4; ++i) y[t * 4 + i] = stages[t * 4 + i];
  y[256 + t] = stages[128 + t * 4];  // not waited for: NaN
  copy_async_wait<0>();
  for (int i = 0; i < 4; ++i) y[128 + t * 4 + i] = stages[128 + t * 4 + i];
}

void asynchronous_copies() {
  Device device;
  Buffer<float> x(254), y(288);  // the last copy is cut to 8 bytes: beyond lies the guard page
  for (int i = 0; i < 254; ++i) x.data[i] = static_cast<float>(i);
  CHECK(launch(device.gpu, {"pipeline", 1, 32, 1024}, pipeline_kernel, static_cast<const float*>(x.data), y.data));
  for (int i = 0; i < 256; ++i) CHECK(y.data[i] == (i < 254 ? static_cast<float>(i) : 0.0f));
  for (int i = 256; i < 288; ++i) CHECK(y.data[i] != y.data[i]);
}

// --- wrong kernels

__global__ void divergent_kernel(int* out) {
  if (threadIdx.x < 40)
    __syncthreads();
  else
    Machine::active()->named_barrier(1, 64, true, {__FILE__, __LINE__});
  out[threadIdx.x] = 1;
}
__global__ void two_barriers_kernel() {
  if (threadIdx.x % 2)
    __syncthreads();
  else
    __syncthreads();
}
__global__ void left_out_kernel() {
  if (threadIdx.x != 7) __shfl_sync(kFullMask, 1, 0);
}
__global__ void foreign_mask_kernel() {
  if (threadIdx.x < 16) __shfl_sync(0xffff0000u, 1, 20);
}
__global__ void outside_lane_kernel() {
  if (threadIdx.x < 16) __shfl_sync(0x0000ffffu, 1, 20);
}
__global__ void mixed_kernel() {
  if (threadIdx.x < 16)
    __ballot_sync(kFullMask, 1);
  else
    __shfl_sync(kFullMask, 1, 0);
}
__global__ void beyond_kernel(float* out, int offset) { store_float(out + static_cast<int>(threadIdx.x) + offset, 1.0f); }
__global__ void shared_beyond_kernel(int offset) {
  float* tile = dynamic_smem<float>();
  tile[static_cast<int>(threadIdx.x) + offset] = 1.0f;
}
__global__ void unwritten_kernel(float* out) {
  SHARED_ARRAY(float, tile, 64);
  if (threadIdx.x < 32) tile[threadIdx.x] = 1.0f;
  __syncthreads();
  out[threadIdx.x] = tile[threadIdx.x];
}
__global__ void missing_barrier_kernel(float* out) {
  SHARED_ARRAY(float, tile, 128);
  tile[threadIdx.x] = static_cast<float>(threadIdx.x);
  out[threadIdx.x] = tile[(threadIdx.x + 64) % 128];
}
__global__ void misaligned_kernel(const float* x) { copy_async<16>(dynamic_smem<float>() + 4 * threadIdx.x, x + 1); }
int deep(int n) {
  volatile char frame[2048];
  frame[0] = static_cast<char>(n);
  return n == 0 ? frame[0] : deep(n - 1) + frame[0];
}
__global__ void overflow_kernel(int* out) { out[0] = deep(1000); }

void wrong_kernels() {
  for (Schedule schedule : kSchedules) {
    Device device(schedule);
    Buffer<int> ints(64);
    CHECK_SAYS(launch(device.gpu, {"divergent", 1, 64}, divergent_kernel, ints.data), "40 of 64 threads: waits in __syncthreads");
    CHECK_SAYS(launch(device.gpu, {"two_barriers", 1, 32}, two_barriers_kernel), "different barriers");
    CHECK_SAYS(launch(device.gpu, {"left_out", 1, 32}, left_out_kernel), "ended");
    CHECK_SAYS(launch(device.gpu, {"foreign_mask", 1, 32}, foreign_mask_kernel), "lacks the calling lane");
    CHECK_SAYS(launch(device.gpu, {"outside_lane", 1, 32}, outside_lane_kernel), "not in the mask");
    CHECK_SAYS(launch(device.gpu, {"mixed", 1, 32}, mixed_kernel), "meets");
    Buffer<float> floats(32);
    CHECK_SAYS(launch(device.gpu, {"beyond", 1, 32}, beyond_kernel, floats.data, 1), "simt_test.cc");
    CHECK_SAYS(launch(device.gpu, {"beyond", 1, 32}, beyond_kernel, floats.data, 1), "illegal address");
    CHECK(device.stream.machine.illegal_address());
    CHECK_SAYS(launch(device.gpu, {"shared_beyond", 1, 32, 132}, shared_beyond_kernel, 2), "beyond the dynamic shared memory");
    CHECK_SAYS(launch(device.gpu, {"shared_beyond", 1, 32, 128}, shared_beyond_kernel, 4096), "beyond shared memory");
    CHECK_SAYS(launch(device.gpu, {"misaligned", 1, 32, 512}, misaligned_kernel, static_cast<const float*>(floats.data)), "multiple");
    CHECK_SAYS(launch(device.gpu, {"overflow", 1, 32}, overflow_kernel, ints.data), "stack");
    CHECK_SAYS(launch(device.gpu, {"many", 1, 1025}, unwritten_kernel, floats.data), "1025 threads");
    CHECK_SAYS(launch(device.gpu, {"shared", 1, 32, kMaxShared + 1}, unwritten_kernel, floats.data), "bytes of shared memory");
    // After all that the machine still works.
    Buffer<float> out(64);
    CHECK(launch(device.gpu, {"unwritten", 1, 64}, unwritten_kernel, out.data));
    for (int i = 0; i < 64; ++i) CHECK((out.data[i] == 1.0f) == (i < 32));
  }
  // A missing barrier shows in at least one order, as NaN: that is why there are three.
  int noticed = 0;
  for (Schedule schedule : kSchedules) {
    Device device(schedule);
    Buffer<float> out(128);
    CHECK(launch(device.gpu, {"missing", 1, 128}, missing_barrier_kernel, out.data));
    for (int i = 0; i < 128; ++i)
      if (out.data[i] != static_cast<float>((i + 64) % 128)) {
        ++noticed;
        break;
      }
  }
  CHECK(noticed >= 1);
}

void writes_around_blocks() {
  auto* before = static_cast<unsigned char*>(guarded_allocate(100));
  before[-1] = 0;
  CHECK(guarded_release(before).find("1 bytes before") != std::string::npos);
  auto* behind = static_cast<unsigned char*>(guarded_allocate(100));
  behind[103] = 0;
  CHECK(guarded_release(behind).find("3 bytes behind") != std::string::npos);
}

// --- suppression, counters

void suppressed_synchronization() {
  Device device;
  device.stream.machine.recording_sites = true;
  Buffer<float> x(256), y(2);
  for (int i = 0; i < 256; ++i) x.data[i] = 1.0f;
  const auto* from = static_cast<const float*>(x.data);
  CHECK(launch(device.gpu, {"sum", 1, 256}, sum_kernel, from, y.data, 256));
  CHECK(y.data[0] == 256.0f);
  int noticed = 0, barriers = 0;
  const SiteSet sites = device.stream.machine.sites();
  for (const auto& [name, what] : sites) {
    if (what != "barrier") continue;
    ++barriers;
    bool failed = false;
    for (Schedule schedule : kSchedules) {
      Device mutant(schedule);
      mutant.stream.machine.suppressed = name;
      const Status status = launch(mutant.gpu, {"sum", 1, 256}, sum_kernel, from, y.data, 256);
      failed |= !status || y.data[0] != 256.0f || y.data[1] != 512.0f;
    }
    noticed += failed;
  }
  CHECK(barriers == 2);
  CHECK(noticed == 2);
}

__global__ void traffic_kernel(const float* x, float* y, int stride) {
  const auto t = static_cast<int>(threadIdx.x);
  float* tile = dynamic_smem<float>();
  store_shared(tile + t * stride, load<1>(x + t * stride));
  __syncwarp();
  store(y + 4 * t, load<4>(x + 4 * t));
}

void counters() {
  for (int stride : {1, 8, 32}) {
    Device device;
    device.stream.machine.counting = true;
    Buffer<float> x(1024), y(128);
    CHECK(launch(device.gpu, {"traffic", 1, 32, 4096}, traffic_kernel, static_cast<const float*>(x.data), y.data, stride));
    const Counts& counts = device.stream.machine.counters().kernels().at("traffic");
    CHECK(counts.load_requests == 2);
    CHECK(counts.load_sectors == 16u + (stride == 1 ? 4 : 32));
    CHECK(counts.load_bytes == 128 + 512);
    CHECK(counts.store_sectors == 16);
    CHECK(counts.shared_ideal == 1);
    CHECK(counts.shared_wavefronts == static_cast<uint64_t>(stride));
  }
}

}  // namespace

int run() {
  transfers();
  errors();
  graphs();
  indices();
  reductions();
  shuffles();
  roles();
  matrix_product<bf16>();
  matrix_product<f16>();
  matrix_product<tf32>();
  matrix_moves();
  tf32_rounding();
  asynchronous_copies();
  wrong_kernels();
  writes_around_blocks();
  suppressed_synchronization();
  counters();
  std::printf("simt_test: %d checks passed\n", g_checks);
  return 0;
}

}  // namespace tilewise::simt

int main() { return tilewise::simt::run(); }
