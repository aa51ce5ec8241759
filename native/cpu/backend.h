// The CPU as a device.
#pragma once
#include <memory>
#include <string>

#include "../core/backend.h"

namespace tilewise::cpu {

struct Options {
  int threads = 0;           // 0: as many as this process may run on
  std::string isa = "auto";  // "auto", or one of "baseline", "avx2", "avx512" for tests
};

// Fails where the named instruction set is not this processor's.
Status make_backend(const Options& options, std::unique_ptr<Backend>* backend);

}  // namespace tilewise::cpu
