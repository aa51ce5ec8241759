// The CUDA device, and what can be known of it without opening it.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "../core/backend.h"

namespace tilewise::cuda {

struct Options {
  int index = 0;      // which GPU, as the runtime counts them: CUDA_VISIBLE_DEVICES has been applied
  bool tf32 = false;  // f32 matrix products may round their factors to tf32
  // For tests: an allocation of its own for every tensor, of its own size and freed with it, so that memory checkers see its ends.
  bool exact_allocations = false;
};

Status make_backend(const Options& options, std::unique_ptr<Backend>* backend);

struct GpuInfo {
  int index = 0;
  std::string name;
  int capability = 0;  // 10 * major + minor
  size_t memory_bytes = 0;
  std::string refusal;  // why this build cannot use it; empty where it can
};

struct Probe {
  int driver = 0, runtime = 0;  // CUDA versions as 1000 * major + 10 * minor; driver 0: there is none
  std::string refusal;          // why no GPU can be used; empty where one can
  std::vector<GpuInfo> gpus;
};

// Never fails, creates no context: safe where there is no driver at all.
Probe probe();

}  // namespace tilewise::cuda
