#include "runtime.h"

#include <cstring>
#include <mutex>

#include "memory.h"

namespace tilewise::simt {
namespace {

std::mutex g_mutex;
std::string g_damage;

}  // namespace

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorIllegalAddress:
      return "cudaErrorIllegalAddress";
    case cudaErrorLaunchFailure:
      return "cudaErrorLaunchFailure";
  }
  return "cudaErrorUnknown";
}

const char* cudaGetErrorString(cudaError_t error) { return cudaGetErrorName(error); }

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int index) { return index == 0 ? cudaSuccess : cudaErrorInvalidValue; }

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new Stream;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }

cudaError_t cudaMalloc(void** memory, size_t bytes) {
  *memory = guarded_allocate(bytes);
  return *memory ? cudaSuccess : cudaErrorMemoryAllocation;
}
cudaError_t cudaFree(void* memory) {
  if (!memory) return cudaSuccess;
  const std::string damage = guarded_release(memory);
  if (!damage.empty()) {
    std::lock_guard<std::mutex> lock(g_mutex);
    if (g_damage.empty()) g_damage = damage;
  }
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* destination, const void* source, size_t bytes, cudaMemcpyKind, cudaStream_t) {
  if (bytes) std::memcpy(destination, source, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t) {
  if (bytes) std::memset(memory, value, bytes);
  return cudaSuccess;
}

Status run_on(void* stream, const LaunchShape& shape, const std::function<void()>& body) {
  Machine& machine = static_cast<Stream*>(stream)->machine;
  std::string error = machine.launch(shape, body);
  if (error.empty()) error = take_damage();
  if (error.empty()) return Status::ok();
  return Status::error(machine.illegal_address() ? Code::device_lost : Code::device_error, std::move(error));
}

std::string take_damage() {
  std::lock_guard<std::mutex> lock(g_mutex);
  return std::exchange(g_damage, {});
}

}  // namespace tilewise::simt
