// One JavaScript environment's view of a device: its slots, its captured command lists, and the way its results go home.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "capture.h"

namespace tilewise {

// What a read, a synchronization or a query gives back.
struct Completion {
  uint32_t id = 0;
  std::shared_ptr<const Failure> failure;
  DType dtype = DType::u8;
  std::vector<uint8_t> bytes;
};

// A moment that commands have marked, or why there is none.
struct Marked {
  std::unique_ptr<Mark> mark;
  std::shared_ptr<const Failure> failure;
};

class Session {
 public:
  using Deliver = std::function<void(std::unique_ptr<Completion>)>;
  explicit Session(Deliver deliver) : deliver_(std::move(deliver)) {}

  // From the engine thread. After close() completions are dropped: the environment is gone.
  void deliver(std::unique_ptr<Completion> completion) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (deliver_) deliver_(std::move(completion));
  }
  // From the environment's thread; when it returns, deliver will not be called again.
  void close() {
    std::lock_guard<std::mutex> lock(mutex_);
    deliver_ = nullptr;
    closed_ = true;
  }
  bool closed() const { return closed_; }

  // Engine thread only.
  Slots slots;
  std::unordered_map<uint32_t, std::unique_ptr<Capture>> captures;
  std::unordered_map<int32_t, Marked> marks;

 private:
  std::mutex mutex_;
  Deliver deliver_;
  std::atomic<bool> closed_{false};
};

}  // namespace tilewise
