// Functions that every device compiles: always inlined, and callable from kernels where nvcc compiles them.
#pragma once

#if defined(__CUDACC__)
#define TILEWISE_SCALAR __host__ __device__ __forceinline__
#else
#define TILEWISE_SCALAR inline __attribute__((always_inline))
#endif
