// The porting contract: what a device must provide. Everything is called from that device's engine thread only, in order.
#pragma once
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

#include "ops.h"
#include "status.h"

namespace tilewise {

class Backend;

// Handed to every op.
class Context {
 public:
  virtual ~Context() = default;
  // Memory for the duration of this op, 64-byte aligned, not cleared.
  virtual Status scratch(size_t bytes, void** memory) = 0;
  virtual Backend& backend() = 0;
};

// One function an op. The engine knows ops by number; a backend makes its table from ops.def.
using OpFunction = Status (*)(Context&, const void* args);

struct DeviceInfo {
  std::string kind;         // "cpu", "cuda", "simt"
  std::string name;         // the processor's or GPU's own name
  std::string detail;       // instruction sets, threads, compute capability: one line for people
  size_t memory_bytes = 0;  // what the device can hold
  int threads = 0;
  bool native_bf16 = false;
};

// Work that was recorded once, to be launched again as one. Made and given up on the engine thread.
class Recording {
 public:
  virtual ~Recording() = default;
};

// A moment in the order of a device's work; `time` is when the device was told of it.
class Mark {
 public:
  virtual ~Mark() = default;
  const std::chrono::steady_clock::time_point time = std::chrono::steady_clock::now();
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual DeviceInfo info() const = 0;
  virtual Status allocate(size_t bytes, void** memory) = 0;
  virtual void release(void* memory, size_t bytes) = 0;
  virtual void poison(void* memory, size_t bytes) = 0;  // fills with NaN, for tests
  virtual Status upload(void* destination, const void* source, size_t bytes) = 0;
  virtual Status download(void* destination, const void* source, size_t bytes) = 0;
  virtual Status run(Op op, const void* args, Context& context) = 0;
  virtual Status synchronize() = 0;
  // The moment when all work so far is done, and the milliseconds between two such moments once both have passed. Not while recording. As
  // they stand here, for devices whose calls return when their work is done.
  virtual Status mark(std::unique_ptr<Mark>* mark) {
    *mark = std::make_unique<Mark>();
    return Status::ok();
  }
  virtual Status elapsed(const Mark& from, const Mark& to, double* milliseconds) {
    *milliseconds = std::chrono::duration<double, std::milli>(to.time - from.time).count();
    return Status::ok();
  }
  // Whether every allocation must have its own size and place: guard pages only work without size classes and a cache.
  virtual bool exact_allocations() const { return false; }
  // Whether run() and poison() can be recorded instead of done: what lies between begin_recording and end_recording, which must follow. In
  // between there is no upload, download or synchronization.
  virtual bool records() const { return false; }
  virtual Status begin_recording() { return Status::error(Code::unsupported, "this device records nothing"); }
  virtual Status end_recording(std::unique_ptr<Recording>* recording) { return begin_recording(); }
  virtual Status launch(Recording& recording) { return begin_recording(); }
  // What the device has counted, as JSON; empty where it counts nothing. Complete after synchronize().
  virtual std::string take_report() { return {}; }
};

}  // namespace tilewise
