// Engines shared by every environment of the process, made on first use.
#pragma once
#include <memory>
#include <string>

#include "../engine/engine.h"

namespace tilewise {

struct DeviceOptions {
  std::string kind;                   // "cpu" or "simt"
  int threads = 0;                    // 0: all that the process may use
  double memory_limit = 0;            // bytes; 0: the device's own
  std::string isa = "auto";           // cpu only
  bool poison = false;                // new memory holds NaN: for tests
  std::string schedule = "in-order";  // simt only, as are those below: see native/simt/backend.h
  bool counters = false;
  bool sites = false;
  std::string suppressed;
};

// The engine for these options, or why there is none. The engine ends when its last holder lets go.
Status open_engine(const DeviceOptions& options, std::shared_ptr<Engine>* engine);

}  // namespace tilewise
