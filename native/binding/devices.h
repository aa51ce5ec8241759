// Engines shared by every environment of the process, made on first use.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "../engine/engine.h"

namespace tilewise {

struct DeviceOptions {
  std::string kind;                   // "cpu", "cuda" or "simt"
  int threads = 0;                    // 0: all that the process may use
  double memory_limit = 0;            // bytes; 0: the device's own
  std::string isa = "auto";           // cpu only
  bool poison = false;                // new memory holds NaN: for tests
  int index = 0;                      // cuda only: which GPU
  bool tf32 = false;                  // cuda and simt: f32 products may round their factors to tf32
  bool exact_allocations = false;     // cuda only: see native/cuda/backend.h
  std::string schedule = "in-order";  // simt only, as are those below: see native/simt/backend.h
  bool counters = false;
  bool sites = false;
  std::string suppressed;
};

// The engine for these options, or why there is none. The engine ends when its last holder lets go.
Status open_engine(const DeviceOptions& options, std::shared_ptr<Engine>* engine);

// The GPUs of this machine and whether this build can use them. Opens none.
struct GpuReport {
  bool built = false;           // whether this build has a CUDA device at all
  std::string kernels;          // which GPUs its code is for
  std::string driver, runtime;  // CUDA versions; an empty driver: there is none
  std::string refusal;          // why no GPU can be used; empty where one can
  struct Gpu {
    int index;
    std::string name, capability;
    double memory_bytes;
    std::string refusal;
  };
  std::vector<Gpu> gpus;
};
GpuReport report_gpus();

}  // namespace tilewise
