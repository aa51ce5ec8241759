// A machine that runs kernels on the CPU: one fiber a thread, grids block by block, warps of 32. It is strict where a GPU is lenient; what
// it checks and what it cannot show stands in docs/kernels.md.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "counters.h"
#include "site.h"

namespace tilewise::simt {

constexpr int kWarpSize = 32;
constexpr int kMaxThreads = 1024;
constexpr int kNamedBarriers = 16;
// What a block may have of shared memory on sm_90; a launcher asks Gpu::shared_per_block, which may be less.
constexpr size_t kMaxShared = 227 * 1024;
constexpr size_t kMaxStaticShared = 48 * 1024;

struct Index3 {
  unsigned x = 0, y = 0, z = 0;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
  constexpr uint64_t count() const { return uint64_t{x} * y * z; }
};

// Which ready thread runs next. A missing barrier can hide from any one of them; a right kernel gives the same bits in all.
enum class Schedule {
  in_order,              // every thread to its next wait, round and round
  warp_greedy,           // a warp as far as it can go before the next one
  warp_greedy_reversed,  // the same from the last warp, lane and block to the first
};

class Machine;

// An asynchronous copy that has been issued and not been waited for.
struct AsyncCopy {
  void* destination;
  const void* source;
  uint32_t bytes, source_bytes;  // the rest is zero-filled
};

struct Thread {
  Index3 index;
  int linear = 0, warp = 0, lane = 0;
  void* context = nullptr;  // where to resume
  void* stack = nullptr;    // its top
  const char* waits_in = nullptr;
  Site site;
  bool exited = false;
  std::vector<AsyncCopy> copies;   // in order of issue
  std::vector<size_t> group_ends;  // sizes of `copies` at each commit
};

// Lanes of one warp that do something together: a shuffle, a vote, a matrix instruction.
struct Collective {
  static constexpr size_t kInput = 64, kOutput = 32;  // bytes a lane
  uint32_t mask = 0, arrived = 0, unread = 0;
  const void* kind = nullptr;
  const char* what = nullptr;
  Site site;
  alignas(16) unsigned char in[kWarpSize][kInput];
  alignas(16) unsigned char out[kWarpSize][kOutput];
};

struct Warp {
  uint32_t ready = 0, present = 0, exited = 0;
  std::vector<Collective*> open;
};

struct NamedBarrier {
  int expected = 0, arrived = 0;
  std::vector<Thread*> waiting;
};

struct LaunchShape {
  const char* name;  // of the kernel, for reports
  dim3 grid, block;
  size_t dynamic_shared = 0;       // bytes
  const void* function = nullptr;  // set by launch()
};

class Machine {
 public:
  Machine();
  ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  Schedule schedule = Schedule::in_order;
  bool counting = false;
  bool recording_sites = false;
  std::string suppressed;  // "file.cuh:line" of one synchronization to leave out: the mutation check

  // Runs the whole grid. Empty where all went well, else what the kernel did wrong. illegal_address tells a fault from the rest.
  std::string launch(const LaunchShape& shape, const std::function<void()>& body);
  bool illegal_address() const { return illegal_address_; }

  Counters& counters() { return counters_; }
  const SiteSet& sites() const { return sites_; }
  void clear_sites() { sites_.clear(); }

  // --- what kernel text reaches through host.h, on the running fiber
  static Machine* active() { return active_; }
  Thread& current() { return *current_; }
  const Index3& block_index() const { return block_; }
  const dim3& grid() const { return shape_->grid; }
  const dim3& block_size() const { return shape_->block; }
  void* dynamic_shared();
  void* static_shared(const void* tag, size_t bytes, size_t alignment);
  bool in_shared(const void* address, size_t bytes) const;

  enum class Vote { none, any, all, count };
  int block_barrier(Vote vote, bool predicate, const Site& site);
  void named_barrier(int id, int threads, bool wait, const Site& site);
  // Every lane of mask gives `in`; the last to arrive runs complete(ins, outs, mask) once; each gets its `out`.
  template <class Out, class In, class Complete>
  Out collective(uint32_t mask, const char* what, const Site& site, const In& in, Complete complete);
  void copy_async(void* shared, const void* global, uint32_t bytes, uint32_t source_bytes, const Site& site);
  void commit_copies(const Site& site);
  void wait_copies(size_t most_pending, const Site& site);
  // Notes a synchronization; true where the mutation check leaves it out.
  bool skips(const Site& site, const char* what);

  // Ends the launch with this report; does not return.
  [[noreturn]] void fail(const std::string& what);
  [[noreturn]] void fault(const void* address);
  bool runs_kernel() const { return current_ && current_ != &hub_; }  // a fault now is the kernel's
  void* spare_stack() const { return spare_stack_; }                  // its top

 private:
  static void enter(Machine& machine);
  friend struct Fibers;
  void run_block();
  void poison_shared();
  void switch_to(Thread* to);
  [[noreturn]] void leave();  // back to the hub for good
  Thread* next_ready();
  void wait(const char* what, const Site& site);
  void wake(Thread& thread) { warps_[thread.warp].ready |= 1u << thread.lane; }
  void release_block_barrier();
  [[noreturn]] void exit_thread();
  Collective* join(uint32_t mask, const char* what, const void* kind, const Site& site);
  void read_done(Collective* collective);
  [[noreturn]] void report_deadlock();
  std::string where(const Thread& thread) const;

  static thread_local Machine* active_;

  const LaunchShape* shape_ = nullptr;
  const std::function<void()>* body_ = nullptr;
  Index3 block_;
  int threads_count_ = 0, alive_ = 0;
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  Thread hub_;
  Thread* current_ = nullptr;
  Thread* switched_from_ = nullptr;

  int barrier_arrived_ = 0, barrier_votes_ = 0, barrier_result_ = 0;
  std::vector<Thread*> barrier_waiting_;
  NamedBarrier named_[kNamedBarriers];
  std::deque<std::unique_ptr<Collective>> collectives_;
  std::vector<Collective*> free_collectives_;

  unsigned char* stacks_ = nullptr;
  void* spare_stack_ = nullptr;      // where a fault is reported from: the fiber's own may be what overflowed
  unsigned char* shared_ = nullptr;  // kMaxShared bytes that end at a guard
  unsigned char* static_shared_ = nullptr;
  struct StaticArray {
    const void* tag;
    size_t offset, bytes;
  };
  std::vector<StaticArray> static_arrays_;
  size_t static_used_ = 0;

  std::string error_;
  bool illegal_address_ = false;
  Counters counters_;
  SiteSet sites_;
};

template <class Out, class In, class Complete>
Out Machine::collective(uint32_t mask, const char* what, const Site& site, const In& in, Complete complete) {
  static_assert(sizeof(In) <= Collective::kInput && sizeof(Out) <= Collective::kOutput);
  static_assert(std::is_trivially_copyable_v<In> && std::is_trivially_copyable_v<Out>);
  static const char kind = 0;  // one address an instantiation: tells a shuffle from a vote
  const int lane = current_->lane;
  Collective* shared = join(mask, what, &kind, site);
  std::memcpy(shared->in[lane], &in, sizeof(In));
  if (shared->arrived == mask) {
    In ins[kWarpSize]{};
    Out outs[kWarpSize]{};
    for (int i = 0; i < kWarpSize; ++i)
      if (mask >> i & 1) std::memcpy(&ins[i], shared->in[i], sizeof(In));
    complete(ins, outs, mask);
    for (int i = 0; i < kWarpSize; ++i)
      if (mask >> i & 1) std::memcpy(shared->out[i], &outs[i], sizeof(Out));
    Warp& warp = warps_[current_->warp];
    warp.ready |= mask;
    for (size_t i = 0; i < warp.open.size(); ++i)
      if (warp.open[i] == shared) {
        warp.open.erase(warp.open.begin() + static_cast<std::ptrdiff_t>(i));
        break;
      }
  } else {
    wait(what, site);
  }
  Out out;
  std::memcpy(&out, shared->out[lane], sizeof(Out));
  read_done(shared);
  return out;
}

}  // namespace tilewise::simt
