// The same names for nvcc: CUDA's own, and the few that kernel text needs beyond them.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <tuple>
#include <type_traits>

#define SHARED_ARRAY(T, name, count) __shared__ T name[count]

namespace tilewise::cuda {

constexpr int kWarpSize = 32;

struct Site {};
__device__ __forceinline__ void note_load(const void*, uint32_t, Site) {}
__device__ __forceinline__ void note_store(const void*, uint32_t, Site) {}
__device__ __forceinline__ void note_shared(const void*, uint32_t, Site) {}

// Every kernel has one array of dynamic shared memory, 1024-byte aligned as 128-byte swizzles want it.
template <class T>
__device__ __forceinline__ T* dynamic_smem() {
  extern __shared__ __align__(1024) unsigned char tilewise_dynamic_shared[];
  return reinterpret_cast<T*>(tilewise_dynamic_shared);
}

struct LaunchShape {
  const char* name;  // of the kernel, for reports
  dim3 grid, block;
  size_t dynamic_shared = 0;  // bytes
};

// Declared here for kernel text; native/cuda/errors.h.
Status launch_status(cudaError_t error, const char* kernel);

template <class... P, class... A>
Status launch(const Gpu& gpu, const LaunchShape& shape, void (*kernel)(P...), A... arguments) {
  if (uint64_t{shape.grid.x} * shape.grid.y * shape.grid.z == 0) return Status::ok();
  const void* function = reinterpret_cast<const void*>(kernel);
  if (shape.dynamic_shared > 48 * 1024) {  // beyond it a kernel has to ask; about a microsecond
    const cudaError_t error =
        cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shape.dynamic_shared));
    if (error != cudaSuccess) return launch_status(error, shape.name);
  }
  std::tuple<std::decay_t<P>...> parameters(static_cast<P>(arguments)...);
  return std::apply(
      [&](auto&... parameter) {
        void* pointers[] = {&parameter...};
        return launch_status(
            cudaLaunchKernel(function, shape.grid, shape.block, pointers, shape.dynamic_shared, static_cast<cudaStream_t>(gpu.stream)),
            shape.name);
      },
      parameters);
}

}  // namespace tilewise::cuda

#define SITE ::tilewise::cuda::Site site = {}
