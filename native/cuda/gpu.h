// What a launcher may know of the device it launches on.
#pragma once
#include "../core/backend.h"

namespace tilewise {

struct Gpu {
  int index = 0;
  int capability = 80;  // 10 * major + minor
  int multiprocessors = 1;
  size_t shared_per_block = 0;  // bytes a block may ask for
  size_t l2_bytes = 0;
  bool tf32 = false;       // f32 products may round their factors to tf32
  void* stream = nullptr;  // cudaStream_t
};

// Backends whose devices are Gpus.
class GpuBackend : public Backend {
 public:
  virtual const Gpu& gpu() const = 0;
};

inline const Gpu& gpu_of(Context& context) { return static_cast<const GpuBackend&>(context.backend()).gpu(); }

}  // namespace tilewise
