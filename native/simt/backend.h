// The machine of fibers as a device: tests only, in no published binary.
#pragma once
#include <memory>
#include <string>

#include "../core/backend.h"

namespace tilewise::simt {

struct Options {
  std::string schedule = "in-order";  // "in-order", "warp-greedy" or "warp-greedy-reversed"
  bool tf32 = false;                  // as on CUDA
  bool counters = false;              // count memory traffic, bank conflicts and matrix instructions: slow
  bool sites = false;                 // note which synchronizations have run
  std::string suppressed;             // "file.cuh:line" of one synchronization to leave out
};

Status make_backend(const Options& options, std::unique_ptr<Backend>* backend);

}  // namespace tilewise::simt
