#include "runtime.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "memory.h"

namespace tilewise::simt {
namespace {

constexpr size_t kMemory = size_t{8} << 30;

std::mutex g_damage_mutex;
std::string g_damage;  // what was written out of bounds, found when a block was released
std::mutex g_streams_mutex;
std::vector<Stream*> g_streams;

thread_local cudaError_t t_error = cudaSuccess;
thread_local std::string t_report;

cudaError_t report(cudaError_t error, std::string what) {
  t_error = error;
  t_report = std::move(what);
  return error;
}

cudaError_t report_damage() {
  std::lock_guard<std::mutex> lock(g_damage_mutex);
  return g_damage.empty() ? cudaSuccess : report(cudaErrorUnknown, std::exchange(g_damage, {}));
}

cudaError_t perform(Stream& stream, uint64_t until) {
  std::lock_guard<std::mutex> lock(stream.mutex);
  cudaError_t first = cudaSuccess;
  while (stream.done < std::min(until, stream.queued)) {
    const Work work = std::move(stream.pending.front());
    stream.pending.pop_front();
    ++stream.done;
    if (const cudaError_t error = work(); error != cudaSuccess && first == cudaSuccess) first = error;
  }
  return first;
}
cudaError_t perform_all(Stream& stream) { return perform(stream, UINT64_MAX); }

cudaError_t enqueue(Stream& stream, Work work) {
  std::lock_guard<std::mutex> lock(stream.mutex);
  if (stream.capturing) {
    stream.captured.push_back(std::move(work));
  } else {
    stream.pending.push_back(std::move(work));
    ++stream.queued;
  }
  return cudaSuccess;
}

cudaError_t refuse_capture(const char* what) {
  return report(cudaErrorStreamCaptureUnsupported, std::string(what) + " while the stream is capturing");
}

}  // namespace

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidDevice:
      return "cudaErrorInvalidDevice";
    case cudaErrorIllegalAddress:
      return "cudaErrorIllegalAddress";
    case cudaErrorStreamCaptureUnsupported:
      return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorUnknown:
      return "cudaErrorUnknown";
  }
  return "unrecognized error code";
}

const char* cudaGetErrorString(cudaError_t error) {
  return error == t_error && !t_report.empty() ? t_report.c_str() : cudaGetErrorName(error);
}
cudaError_t cudaGetLastError() {
  t_report.clear();
  return std::exchange(t_error, cudaSuccess);
}

cudaError_t cudaSetDevice(int index) {
  return index == 0 ? cudaSuccess : report(cudaErrorInvalidDevice, "there is one machine of fibers: index 0");
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {};
  std::strcpy(properties->name, "machine of fibers");
  properties->totalGlobalMem = kMemory;
  properties->major = 9;
  properties->multiProcessorCount = 4;  // few, so that grids of a persistent kernel have several tiles a block
  properties->sharedMemPerBlockOptin = kMaxShared;
  properties->l2CacheSize = 1 << 20;
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *free = *total = kMemory;
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new Stream;
  std::lock_guard<std::mutex> lock(g_streams_mutex);
  g_streams.push_back(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  perform_all(*stream);
  {
    std::lock_guard<std::mutex> lock(g_streams_mutex);
    g_streams.erase(std::find(g_streams.begin(), g_streams.end(), stream));
  }
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (stream->capturing) return refuse_capture("cudaStreamSynchronize");
  const cudaError_t error = perform_all(*stream);
  return error == cudaSuccess ? report_damage() : error;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  *event = new Event;
  (*event)->timing = !(flags & cudaEventDisableTiming);
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  event->stream = stream;
  event->position = stream->queued;
  if (!event->timing) return cudaSuccess;
  // Kernels run when they are launched, so only copies can be pending: they belong before this moment.
  if (stream->capturing) return refuse_capture("cudaEventRecord");
  const cudaError_t error = perform_all(*stream);
  event->time = std::chrono::steady_clock::now();
  return error;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) { return event->stream ? perform(*event->stream, event->position) : cudaSuccess; }
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
  for (cudaEvent_t event : {from, to})
    if (!event->timing || !event->stream) return report(cudaErrorInvalidValue, "the event has no time");
  *milliseconds = std::chrono::duration<float, std::milli>(to->time - from->time).count();
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** memory, size_t bytes) {
  *memory = guarded_allocate(bytes);
  return *memory ? cudaSuccess : report(cudaErrorMemoryAllocation, "out of memory");
}
cudaError_t cudaFree(void* memory) {
  if (!memory) return cudaSuccess;
  {
    // As CUDA waits for the device, so that nothing queued touches the block any more.
    std::lock_guard<std::mutex> lock(g_streams_mutex);
    for (Stream* stream : g_streams) (void)perform_all(*stream);
  }
  const std::string damage = guarded_release(memory);
  std::lock_guard<std::mutex> lock(g_damage_mutex);
  if (g_damage.empty()) g_damage = damage;
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** memory, size_t bytes, unsigned) {
  *memory = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  return *memory ? cudaSuccess : report(cudaErrorMemoryAllocation, "out of memory");
}
cudaError_t cudaFreeHost(void* memory) {
  std::free(memory);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* destination, const void* source, size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  return enqueue(*stream, [=] {
    if (bytes) std::memcpy(destination, source, bytes);
    return cudaSuccess;
  });
}
cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t stream) {
  return enqueue(*stream, [=] {
    if (bytes) std::memset(memory, value, bytes);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (stream->capturing) return refuse_capture("cudaStreamBeginCapture");
  stream->capturing = true;
  stream->captured.clear();
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  if (!stream->capturing) return report(cudaErrorInvalidValue, "the stream is not capturing");
  stream->capturing = false;
  *graph = new Graph{std::move(stream->captured)};
  stream->captured.clear();
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  *executable = new Graph(*graph);
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  if (stream->capturing) return refuse_capture("cudaGraphLaunch");
  for (const Work& work : executable->work) enqueue(*stream, work);
  return perform_all(*stream);
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) { return cudaGraphDestroy(executable); }

cudaError_t run_on(void* raw, const LaunchShape& shape, std::function<void()> body) {
  Stream& stream = *static_cast<Stream*>(raw);
  Work launch = [&stream, shape, body = std::move(body)] {
    std::string error = stream.machine.launch(shape, body);
    if (!error.empty()) return report(stream.machine.illegal_address() ? cudaErrorIllegalAddress : cudaErrorUnknown, std::move(error));
    return report_damage();
  };
  if (stream.capturing) return enqueue(stream, std::move(launch));
  if (const cudaError_t error = perform_all(stream); error != cudaSuccess) return error;
  return launch();
}

}  // namespace tilewise::simt
