#include "machine.h"

#include <sys/mman.h>

#include <boost/context/detail/fcontext.hpp>
#include <cstdio>

#include "fault.h"

namespace tilewise::simt {

namespace context = boost::context::detail;

namespace {

constexpr size_t kPage = 4096;
constexpr size_t kGuard = 1 << 20;        // beyond shared memory: wide, so that a wrong stride does not step over it
constexpr size_t kStack = 64 * 1024;      // of which the lowest page is a guard
constexpr unsigned char kCanary = 0xa5;   // behind dynamic shared memory
constexpr size_t kSharedAlignment = 128;  // what dynamic shared memory starts at
constexpr uint32_t kPoison = 0xff;        // four of them are a NaN

unsigned char* reserve(size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return memory == MAP_FAILED ? nullptr : static_cast<unsigned char*>(memory);
}
size_t round_up(size_t value, size_t unit) { return (value + unit - 1) / unit * unit; }
std::string text(const Index3& i) { return "(" + std::to_string(i.x) + ", " + std::to_string(i.y) + ", " + std::to_string(i.z) + ")"; }

constexpr size_t kSharedBytes = (kMaxShared + kPage - 1) / kPage * kPage;
constexpr size_t kStaticBytes = (kMaxStaticShared + kPage - 1) / kPage * kPage;

}  // namespace

thread_local Machine* Machine::active_ = nullptr;

// The fibers' own entry point has a type that only this file may see.
struct Fibers {
  static void entry(context::transfer_t transfer) {
    auto& machine = *static_cast<Machine*>(transfer.data);
    machine.switched_from_->context = transfer.fctx;
    Machine::enter(machine);
  }
};

Machine::Machine() : threads_(kMaxThreads), warps_(kMaxThreads / kWarpSize) {
  stacks_ = reserve((kMaxThreads + 1) * kStack);
  for (int i = 0; i <= kMaxThreads; ++i) mprotect(stacks_ + i * kStack, kPage, PROT_NONE);
  for (int i = 0; i < kMaxThreads; ++i) threads_[i].stack = stacks_ + (i + 1) * kStack;
  spare_stack_ = stacks_ + (kMaxThreads + 1) * kStack;
  static_shared_ = reserve(kStaticBytes + kGuard + kSharedBytes + kGuard);
  mprotect(static_shared_ + kStaticBytes, kGuard, PROT_NONE);
  shared_ = static_shared_ + kStaticBytes + kGuard;
  mprotect(shared_ + kSharedBytes, kGuard, PROT_NONE);
}

Machine::~Machine() {
  munmap(stacks_, (kMaxThreads + 1) * kStack);
  munmap(static_shared_, kStaticBytes + kGuard + kSharedBytes + kGuard);
}

std::string Machine::launch(const LaunchShape& shape, const std::function<void()>& body) {
  const uint64_t threads = shape.block.count();
  if (threads == 0 || threads > kMaxThreads || shape.block.z > 64)
    return std::string(shape.name) + ": a block of " + std::to_string(threads) + " threads; the most is " + std::to_string(kMaxThreads);
  if (shape.grid.x > 0x7fffffffu || shape.grid.y > 65535 || shape.grid.z > 65535)
    return std::string(shape.name) + ": the grid is too large: y and z end at 65535";
  if (shape.dynamic_shared > kMaxShared)
    return std::string(shape.name) + ": " + std::to_string(shape.dynamic_shared) + " bytes of shared memory; the most is " +
           std::to_string(kMaxShared);
  catch_faults();
  active_ = this;
  shape_ = &shape;
  body_ = &body;
  error_.clear();
  illegal_address_ = false;
  threads_count_ = static_cast<int>(threads);
  counters_.begin_launch();
  const uint64_t blocks = shape.grid.count();
  for (uint64_t i = 0; i < blocks && error_.empty(); ++i) {
    const uint64_t b = schedule == Schedule::warp_greedy_reversed ? blocks - 1 - i : i;
    block_ = {static_cast<unsigned>(b % shape.grid.x), static_cast<unsigned>(b / shape.grid.x % shape.grid.y),
              static_cast<unsigned>(b / shape.grid.x / shape.grid.y)};
    run_block();
    if (counting) counters_.end_block();
  }
  if (counting)
    counters_.end_launch(
        shape.name,
        {shape.function, {shape.grid.x, shape.grid.y, shape.grid.z}, {shape.block.x, shape.block.y, shape.block.z}, shape.dynamic_shared});
  active_ = nullptr;
  return error_;
}

void Machine::run_block() {
  poison_shared();
  alive_ = threads_count_;
  barrier_arrived_ = barrier_votes_ = 0;
  barrier_waiting_.clear();
  for (NamedBarrier& barrier : named_) barrier = NamedBarrier{};
  free_collectives_.clear();
  for (auto& collective : collectives_) free_collectives_.push_back(collective.get());

  const dim3& size = shape_->block;
  for (Warp& warp : warps_) warp.ready = warp.present = warp.exited = 0, warp.open.clear();
  for (int i = 0; i < threads_count_; ++i) {
    Thread& thread = threads_[i];
    thread.linear = i;
    thread.warp = i / kWarpSize;
    thread.lane = i % kWarpSize;
    thread.index = {i % size.x, i / size.x % size.y, i / size.x / size.y};
    thread.exited = false;
    thread.waits_in = nullptr;
    thread.site = Site{};
    thread.copies.clear();
    thread.group_ends.clear();
    thread.context = context::make_fcontext(thread.stack, kStack - kPage, Fibers::entry);
    warps_[thread.warp].ready |= 1u << thread.lane;
    warps_[thread.warp].present |= 1u << thread.lane;
  }
  current_ = &hub_;
  const bool reversed = schedule == Schedule::warp_greedy_reversed;
  switch_to(&threads_[reversed ? threads_count_ - 1 : 0]);
  // Back at the hub: every thread has exited, or one has failed.
  const size_t used = shape_->dynamic_shared;
  const auto* end = static_cast<unsigned char*>(dynamic_shared()) + used;
  for (const unsigned char* at = end; at < shared_ + kSharedBytes && error_.empty(); ++at)
    if (*at != kCanary)
      error_ = std::string(shape_->name) + ", block " + text(block_) + ": a write " + std::to_string(at - end) +
               " bytes beyond the dynamic shared memory of " + std::to_string(used) + " bytes";
}

void Machine::poison_shared() {
  std::memset(dynamic_shared(), kPoison, shape_->dynamic_shared);
  auto* end = static_cast<unsigned char*>(dynamic_shared()) + shape_->dynamic_shared;
  std::memset(end, kCanary, static_cast<size_t>(shared_ + kSharedBytes - end));
  std::memset(static_shared_, kPoison, static_used_);
  static_arrays_.clear();
  static_used_ = 0;
}

void* Machine::dynamic_shared() { return shared_ + (kSharedBytes - shape_->dynamic_shared) / kSharedAlignment * kSharedAlignment; }

void* Machine::static_shared(const void* tag, size_t bytes, size_t alignment) {
  for (const StaticArray& array : static_arrays_)
    if (array.tag == tag) return static_shared_ + array.offset;
  const size_t offset = round_up(static_used_, alignment < 16 ? 16 : alignment);
  if (offset + bytes > kMaxStaticShared) fail("more than " + std::to_string(kMaxStaticShared) + " bytes of static shared memory");
  static_used_ = offset + bytes;
  std::memset(static_shared_ + offset, kPoison, bytes);
  static_arrays_.push_back({tag, offset, bytes});
  return static_shared_ + offset;
}

bool Machine::in_shared(const void* address, size_t bytes) const {
  const auto* at = static_cast<const unsigned char*>(address);
  const bool dynamic = at >= const_cast<Machine*>(this)->dynamic_shared() && at + bytes <= shared_ + kSharedBytes;
  return dynamic || (at >= static_shared_ && at + bytes <= static_shared_ + static_used_);
}

// --- fibers

void Machine::enter(Machine& machine) {
  (*machine.body_)();
  machine.exit_thread();
}

void Machine::switch_to(Thread* to) {
  switched_from_ = current_;
  current_ = to;
  const context::transfer_t back = context::jump_fcontext(to->context, this);
  switched_from_->context = back.fctx;
}

void Machine::leave() {
  switched_from_ = current_;
  current_ = &hub_;
  context::jump_fcontext(hub_.context, this);
  __builtin_unreachable();
}

Thread* Machine::next_ready() {
  const int warps = (threads_count_ + kWarpSize - 1) / kWarpSize;
  const int w = current_->warp, lane = current_->lane;
  auto thread = [&](int warp, int l) { return &threads_[warp * kWarpSize + l]; };
  if (schedule == Schedule::warp_greedy_reversed) {
    auto highest = [](uint32_t mask) { return 31 - __builtin_clz(mask); };
    const uint32_t below = warps_[w].ready & ((1u << lane) - 1);
    if (below) return thread(w, highest(below));
    for (int i = 0; i < warps; ++i) {
      const int warp = (w - i + warps) % warps;
      if (warps_[warp].ready) return thread(warp, highest(warps_[warp].ready));
    }
    return nullptr;
  }
  const uint32_t above = warps_[w].ready & ~((2u << lane) - 1);
  if (above) return thread(w, __builtin_ctz(above));
  const bool greedy = schedule == Schedule::warp_greedy;
  for (int i = greedy ? 0 : 1; i < warps + (greedy ? 0 : 1); ++i) {
    const int warp = (w + i) % warps;
    if (warps_[warp].ready) return thread(warp, __builtin_ctz(warps_[warp].ready));
  }
  return nullptr;
}

void Machine::wait(const char* what, const Site& site) {
  current_->waits_in = what;
  current_->site = site;
  warps_[current_->warp].ready &= ~(1u << current_->lane);
  Thread* next = next_ready();
  if (!next) report_deadlock();
  switch_to(next);
  current_->waits_in = nullptr;
}

void Machine::exit_thread() {
  Warp& warp = warps_[current_->warp];
  const uint32_t bit = 1u << current_->lane;
  current_->exited = true;
  warp.ready &= ~bit;
  warp.exited |= bit;
  --alive_;
  for (const Collective* open : warp.open)
    if (open->mask & bit)
      fail(std::string("the thread has ended while ") + open->what + " at " + open->site.name() + " waits for its lane");
  if (alive_ > 0 && barrier_arrived_ == alive_) release_block_barrier();
  if (alive_ == 0) leave();
  Thread* next = next_ready();
  if (!next) report_deadlock();
  switch_to(next);
  __builtin_unreachable();
}

// --- errors

std::string Machine::where(const Thread& thread) const {
  return std::string(shape_->name) + ", block " + text(block_) + ", thread " + text(thread.index);
}

void Machine::fail(const std::string& what) {
  error_ = where(*current_) + (current_->site.line ? ", at or after " + current_->site.name() : "") + ": " + what;
  leave();
}

void Machine::fault(const void* address) {
  char number[32];
  std::snprintf(number, sizeof number, "%p", address);
  illegal_address_ = true;
  const auto* at = static_cast<const unsigned char*>(address);
  if (at >= stacks_ && at < static_cast<unsigned char*>(spare_stack_)) fail("the fiber's stack has overflowed");
  const bool shared = at >= static_shared_ && at < shared_ + kSharedBytes + kGuard;
  fail(std::string("an illegal address was accessed: ") + number + (shared ? ", beyond shared memory" : ""));
}

void Machine::report_deadlock() {
  // One line for each place where threads wait, most first would hide the odd one out: in order of threads.
  std::vector<std::pair<std::string, std::pair<int, const Thread*>>> places;
  for (int i = 0; i < threads_count_; ++i) {
    const Thread& thread = threads_[i];
    const std::string place = thread.exited ? "ended" : std::string("waits in ") + thread.waits_in + " at " + thread.site.name();
    bool found = false;
    for (auto& [known, count] : places)
      if (known == place) ++count.first, found = true;
    if (!found) places.push_back({place, {1, &thread}});
  }
  std::string report = std::string(shape_->name) + ", block " + text(block_) + ": no thread can go on";
  for (const auto& [place, count] : places)
    report += "; " + std::to_string(count.first) + " of " + std::to_string(threads_count_) + " threads: " + place + " (thread " +
              text(count.second->index) + ")";
  error_ = report;
  leave();
}

bool Machine::skips(const Site& site, const char* what) {
  current_->site = site;
  if (!recording_sites && suppressed.empty()) return false;
  const std::string name = site.name();
  if (recording_sites) sites_.emplace(name, what);
  return name == suppressed;
}

// --- barriers

int Machine::block_barrier(Vote vote, bool predicate, const Site& site) {
  if (skips(site, "barrier")) return predicate;
  barrier_votes_ += predicate;
  ++barrier_arrived_;
  // Lanes of one warp that wait at different barriers: the hardware counts arrivals only, and goes on with half the work done.
  if (const Thread* first = barrier_waiting_.empty() ? nullptr : barrier_waiting_.back();
      first && first->warp == current_->warp && first->site.line != site.line)
    fail("lanes of one warp are at different barriers: " + first->site.name() + " and " + site.name());
  if (barrier_arrived_ == alive_) {
    barrier_result_ = vote == Vote::any ? barrier_votes_ > 0 : vote == Vote::all ? barrier_votes_ == barrier_arrived_ : barrier_votes_;
    release_block_barrier();
  } else {
    barrier_waiting_.push_back(current_);
    wait("__syncthreads", site);
  }
  return barrier_result_;
}

void Machine::release_block_barrier() {
  for (Thread* thread : barrier_waiting_) wake(*thread);
  barrier_waiting_.clear();
  barrier_arrived_ = barrier_votes_ = 0;
}

void Machine::named_barrier(int id, int threads, bool waits, const Site& site) {
  if (skips(site, "named barrier")) return;
  if (id < 1 || id >= kNamedBarriers) fail("named barrier " + std::to_string(id) + "; they go from 1 to 15, 0 is __syncthreads");
  if (threads <= 0 || threads % kWarpSize) fail("a named barrier counts whole warps, not " + std::to_string(threads) + " threads");
  NamedBarrier& barrier = named_[id];
  if (barrier.arrived && barrier.expected != threads)
    fail("named barrier " + std::to_string(id) + " expects " + std::to_string(barrier.expected) + " threads and " +
         std::to_string(threads));
  barrier.expected = threads;
  if (++barrier.arrived == threads) {
    for (Thread* thread : barrier.waiting) wake(*thread);
    barrier = NamedBarrier{};
  } else if (waits) {
    barrier.waiting.push_back(current_);
    wait("a named barrier", site);
  }
}

// --- warps

Collective* Machine::join(uint32_t mask, const char* what, const void* kind, const Site& site) {
  Warp& warp = warps_[current_->warp];
  const uint32_t bit = 1u << current_->lane;
  current_->site = site;
  auto hex = [](uint32_t value) {
    char number[16];
    std::snprintf(number, sizeof number, "0x%08x", value);
    return std::string(number);
  };
  if (!(mask & bit)) fail(std::string(what) + ": the mask " + hex(mask) + " lacks the calling lane " + std::to_string(current_->lane));
  if (mask & ~warp.present) fail(std::string(what) + ": the mask " + hex(mask) + " names lanes that the block does not have");
  if (mask & warp.exited) fail(std::string(what) + ": the mask " + hex(mask) + " names lanes that have ended");
  for (Collective* open : warp.open) {
    if (!(open->mask & mask)) continue;
    if (open->mask != mask || open->kind != kind || open->site.line != site.line || std::strcmp(open->site.file, site.file) != 0)
      fail(std::string(what) + " at " + site.name() + " with mask " + hex(mask) + " meets " + open->what + " at " + open->site.name() +
           " with mask " + hex(open->mask));
    open->arrived |= bit;
    return open;
  }
  if (free_collectives_.empty()) {
    collectives_.push_back(std::make_unique<Collective>());
    free_collectives_.push_back(collectives_.back().get());
  }
  Collective* opened = free_collectives_.back();
  free_collectives_.pop_back();
  opened->mask = opened->unread = mask;
  opened->arrived = bit;
  opened->kind = kind;
  opened->what = what;
  opened->site = site;
  warp.open.push_back(opened);
  return opened;
}

void Machine::read_done(Collective* collective) {
  collective->unread &= ~(1u << current_->lane);
  if (!collective->unread) free_collectives_.push_back(collective);
}

// --- asynchronous copies: done at the wait that needs them, not before; until then their destination holds NaN

void Machine::copy_async(void* shared, const void* global, uint32_t bytes, uint32_t source_bytes, const Site& site) {
  current_->site = site;
  if (bytes != 4 && bytes != 8 && bytes != 16) fail("cp.async copies 4, 8 or 16 bytes, not " + std::to_string(bytes));
  if (reinterpret_cast<uintptr_t>(shared) % bytes || (source_bytes && reinterpret_cast<uintptr_t>(global) % bytes))
    fail("cp.async of " + std::to_string(bytes) + " bytes: an address is not a multiple of that");
  if (!in_shared(shared, bytes)) fail("cp.async writes outside shared memory");
  std::memset(shared, kPoison, bytes);
  current_->copies.push_back({shared, global, bytes, source_bytes});
}

void Machine::commit_copies(const Site& site) {
  if (skips(site, "commit")) return;
  current_->group_ends.push_back(current_->copies.size());
}

void Machine::wait_copies(size_t most_pending, const Site& site) {
  if (skips(site, "wait")) return;
  auto& ends = current_->group_ends;
  auto& copies = current_->copies;
  if (ends.size() <= most_pending) return;
  const size_t groups = ends.size() - most_pending, count = ends[groups - 1];
  for (size_t i = 0; i < count; ++i) {
    const AsyncCopy& copy = copies[i];
    if (copy.source_bytes) std::memcpy(copy.destination, copy.source, copy.source_bytes);
    std::memset(static_cast<char*>(copy.destination) + copy.source_bytes, 0, copy.bytes - copy.source_bytes);
  }
  copies.erase(copies.begin(), copies.begin() + static_cast<std::ptrdiff_t>(count));
  ends.erase(ends.begin(), ends.begin() + static_cast<std::ptrdiff_t>(groups));
  for (size_t& end : ends) end -= count;
}

}  // namespace tilewise::simt
