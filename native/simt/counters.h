// What a launch did to memory, counted as the hardware would serve it: by warp and instruction. The lanes of a warp run at different times
// here, so accesses are matched by the place in the text and how often the thread has been there; lanes that diverge in a loop blur it.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "site.h"

namespace tilewise::simt {

struct Counts {
  uint64_t launches = 0;
  uint64_t load_requests = 0, load_sectors = 0, load_bytes = 0;  // global memory; a sector is 32 bytes
  uint64_t store_requests = 0, store_sectors = 0, store_bytes = 0;
  uint64_t shared_requests = 0, shared_wavefronts = 0, shared_ideal = 0;  // wavefronts beyond the ideal are bank conflicts
  uint64_t matrix_instructions = 0;
  uint64_t distinct_sectors = 0;  // loaded or stored, each once a launch: the least that can go through a cache

  void add(const Counts& other);
};

// How a kernel was launched, and how often that way.
struct LaunchCount {
  const void* function = nullptr;
  unsigned grid[3] = {}, block[3] = {};
  size_t dynamic_shared = 0;  // bytes
  uint64_t launches = 0;
};

class Counters {
 public:
  enum class Space { load, store, shared };

  // One lane's access, `bytes` at `address`. Shared memory counts addresses from its start.
  void access(Space space, int warp, int thread, uintptr_t address, uint32_t bytes, const Site& site);
  // Rows of 16 bytes that one matrix load or store touches, eight to a wavefront.
  void matrix_rows(const uintptr_t* rows, int count);
  void matrix_instruction() { ++launch_.matrix_instructions; }

  void begin_launch() {
    launch_ = Counts{};
    touched_.clear();
  }
  void end_block();
  void end_launch(const std::string& kernel, const LaunchCount& shape);

  const std::map<std::string, Counts>& kernels() const { return kernels_; }
  const std::vector<LaunchCount>& shapes(const std::string& kernel) const { return shapes_.at(kernel); }
  void clear() {
    kernels_.clear();
    shapes_.clear();
  }

 private:
  struct Lane {
    uintptr_t address;
    uint32_t bytes;
    int thread;
  };
  struct Key {
    const char* file;
    int line, who;  // who: a thread while counting its visits, a warp and visit while matching
    uint32_t visit;
    Space space;
    bool operator==(const Key& other) const {
      return file == other.file && line == other.line && who == other.who && visit == other.visit && space == other.space;
    }
  };
  struct Hash {
    size_t operator()(const Key& key) const {
      size_t h = reinterpret_cast<size_t>(key.file) * 31 + static_cast<size_t>(key.line);
      h = h * 1000003 + static_cast<size_t>(key.who);
      return (h * 1000003 + key.visit) * 3 + static_cast<size_t>(key.space);
    }
  };
  void settle(Space space, std::vector<Lane>& lanes);

  Counts launch_;
  std::unordered_set<uintptr_t> touched_;  // sectors
  std::map<std::string, Counts> kernels_;
  std::map<std::string, std::vector<LaunchCount>> shapes_;
  std::unordered_map<Key, uint32_t, Hash> visits_;
  std::unordered_map<Key, std::vector<Lane>, Hash> pending_;
};

}  // namespace tilewise::simt
