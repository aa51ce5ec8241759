// What a launcher may know of the device it launches on.
#pragma once
#include "../core/backend.h"

namespace tilewise {

// What only a kernel can see is wrong: an index, read from device memory, that is outside of its table. The kernel leaves the first such
// element here, by an atomic minimum, and treats the row as absent (zeros, no gradient, no loss). fault.h makes an error of it.
struct DeviceFault {
  static constexpr unsigned long long kNone = ~0ull;
  // Element << 32 | value, of the op's index tensor and of its second one (position_ids).
  unsigned long long first[2] = {kNone, kNone};
};

struct Gpu {
  int index = 0;
  int capability = 80;  // 10 * major + minor
  int multiprocessors = 1;
  size_t shared_per_block = 0;  // bytes a block may ask for
  size_t l2_bytes = 0;
  bool tf32 = false;             // f32 products may round their factors to tf32
  void* stream = nullptr;        // cudaStream_t
  DeviceFault* fault = nullptr;  // of the op that is being run
};

// Backends whose devices are Gpus.
class GpuBackend : public Backend {
 public:
  virtual const Gpu& gpu() const = 0;
};

inline const Gpu& gpu_of(Context& context) { return static_cast<const GpuBackend&>(context.backend()).gpu(); }

}  // namespace tilewise
