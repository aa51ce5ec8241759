// A caching allocator over a backend's memory, used by one engine thread only.
//
// Freed blocks are kept by size class and handed out again, so a loop of equal steps allocates nothing after its first. Because frees run
// in the order of the commands, a block is never reused before the work that reads it has been queued.
#pragma once
#include <atomic>
#include <cstdint>
#include <map>
#include <vector>

#include "../core/backend.h"

namespace tilewise {

struct MemoryStatistics {
  std::atomic<int64_t> live{0};    // bytes in use
  std::atomic<int64_t> cached{0};  // bytes kept for reuse
  std::atomic<int64_t> peak{0};    // highest live since the last reset
};

class Allocator {
 public:
  // limit: the most bytes live and cached together; 0 takes the backend's own memory size.
  // poison: what is handed out holds NaN, so that an element no op wrote shows.
  Allocator(Backend& backend, size_t limit, bool poison);
  ~Allocator();

  // Rounds bytes up to its size class. A request of 0 bytes gives null. On exhaustion the cache is given back and the request tried again.
  Status allocate(size_t bytes, void** memory);
  void release(void* memory, size_t bytes);
  void trim();  // gives every cached block back

  struct Block {
    void* memory;
    size_t bytes;  // its class's
  };
  // In between, what is released is kept apart: allocations there find it again, and nobody else does. It counts as cached.
  void begin_hold() { holding_ = true; }
  std::vector<Block> end_hold();
  void give_back(const std::vector<Block>& blocks);

  const MemoryStatistics& statistics() const { return statistics_; }
  void reset_peak() { statistics_.peak = statistics_.live.load(); }
  size_t limit() const { return limit_; }
  static size_t size_class(size_t bytes);

 private:
  void keep(void* memory, size_t size);
  size_t block_bytes(size_t bytes) const { return exact_ ? bytes : size_class(bytes); }

  Backend& backend_;
  size_t limit_;
  bool poison_;
  bool exact_;  // no classes and no cache: see Backend::exact_allocations
  std::map<size_t, std::vector<void*>> cache_;
  bool holding_ = false;
  std::map<size_t, std::vector<void*>> held_;  // since begin_hold
  size_t held_bytes_ = 0;                      // there and in the hands of those who called end_hold
  MemoryStatistics statistics_;
};

}  // namespace tilewise
