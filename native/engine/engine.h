// One thread per device. It takes jobs in order, decodes command chunks, and calls the backend. No Node and no CUDA in here.
#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <thread>

#include "session.h"

namespace tilewise {

// Words of the command stream that are not ops; ops follow from kFirstOp on, in the table's order. lib/commands.ts writes them.
enum Command : int32_t {
  kAllocate = 0,  // slot, dtype | rank << 8 | op << 16, dims…
  kView = 1,      // slot, base, rank, offset (2 words), dims…, strides (2 words each)…
  kFree = 2,      // slot
  kRestore = 3,   // slot: what failed updates have left as it was counts as good again; memory that could not be had is asked for again
  kMark = 4,      // number: this moment of the device's work gets it
  kUnmark = 5,    // number: forgotten
  kFirstOp = 8,
};

class Engine {
 public:
  Engine(std::unique_ptr<Backend> backend, size_t memory_limit, bool poison);
  ~Engine();  // finishes the running op; what closed sessions have queued is skipped, only their memory is given back

  // All of these return at once; the work happens in order on the engine thread.
  void submit(std::shared_ptr<Session> session, std::vector<int32_t> words);
  void write(std::shared_ptr<Session> session, int32_t slot, DType source, std::vector<uint8_t> bytes);
  // Completes with the tensor's elements; low-precision floats are widened to f32 unless raw.
  void read(std::shared_ptr<Session> session, int32_t slot, bool raw, uint32_t id);
  void synchronize(std::shared_ptr<Session> session, uint32_t id);
  // Completes with the milliseconds between two marks, a double, once the device has passed both.
  void elapsed(std::shared_ptr<Session> session, int32_t from, int32_t to, uint32_t id);
  void capture(std::shared_ptr<Session> session, uint32_t capture, std::vector<int32_t> words);
  void replay(std::shared_ptr<Session> session, uint32_t capture, uint64_t counter_base);
  void release_capture(std::shared_ptr<Session> session, uint32_t capture);
  void trim();
  void reset_peak();
  void close(std::shared_ptr<Session> session);

  const MemoryStatistics& memory() const { return allocator_.statistics(); }
  size_t memory_limit() const { return allocator_.limit(); }
  DeviceInfo info() const { return backend_->info(); }
  std::string take_report() { return backend_->take_report(); }

 private:
  void push(std::function<void()> job);
  void loop();

  // For what runs on the engine thread.
  Backend& backend() { return *backend_; }
  Allocator& allocator() { return allocator_; }
  std::shared_ptr<const Failure> lost() const { return lost_; }
  // What a backend's call came to: null, or its failure. A device that is lost stays lost, whichever call says so first.
  std::shared_ptr<const Failure> note(const Status& status, const char* where);

  std::unique_ptr<Backend> backend_;
  Allocator allocator_;
  std::shared_ptr<const Failure> lost_;  // set once the device is lost, engine thread only

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> jobs_;
  bool stop_ = false;
  std::thread thread_;

  friend class Interpreter;
  friend class Capture;
};

}  // namespace tilewise
