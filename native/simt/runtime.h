// The part of CUDA's runtime that native/cuda uses, on the machine of fibers, so that the device itself is one text too. Work on a stream
// is done at once: streams and events are order only.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "../core/status.h"
#include "../cuda/gpu.h"
#include "machine.h"

namespace tilewise::simt {

struct Stream {
  Machine machine;
};
using cudaStream_t = Stream*;

// CUDA's numbers, those that can occur here.
enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorIllegalAddress = 700,
  cudaErrorLaunchFailure = 719,
};
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };
constexpr unsigned cudaStreamNonBlocking = 1;

const char* cudaGetErrorName(cudaError_t error);
const char* cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaSetDevice(int index);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaMalloc(void** memory, size_t bytes);
cudaError_t cudaFree(void* memory);
cudaError_t cudaMemcpyAsync(void* destination, const void* source, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t stream);

// Runs a kernel's grid; the error says which thread did what and where.
Status run_on(void* stream, const LaunchShape& shape, const std::function<void()>& body);
// What was written out of bounds since the last call, found when blocks are released; empty as a rule.
std::string take_damage();

}  // namespace tilewise::simt
