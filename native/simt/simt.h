// All that kernel text includes beside the project's core: CUDA where nvcc compiles it, the machine of fibers where the host compiler does.
#pragma once
#include "../core/backend.h"
#include "../cuda/gpu.h"

#if defined(__CUDACC__)
#define TILEWISE_GPU cuda
#include "nvcc.h"
#else
#define TILEWISE_GPU simt
#include "host.h"
#endif
