#include "allocator.h"

namespace tilewise {

Allocator::Allocator(Backend& backend, size_t limit, bool poison)
    : backend_(backend), limit_(limit ? limit : backend.info().memory_bytes), poison_(poison), exact_(backend.exact_allocations()) {}

Allocator::~Allocator() { trim(); }

// Eight classes between two powers of two: at most 12.5 % is wasted, and lengths that vary from batch to batch still meet each other's
// blocks.
size_t Allocator::size_class(size_t bytes) {
  if (bytes <= 512) return 512;
  size_t power = 512;
  while (power * 2 < bytes) power *= 2;
  const size_t step = power / 8;
  return (bytes + step - 1) / step * step;
}

namespace {

void* take(std::map<size_t, std::vector<void*>>& blocks, size_t size) {
  const auto found = blocks.find(size);
  if (found == blocks.end() || found->second.empty()) return nullptr;
  void* memory = found->second.back();
  found->second.pop_back();
  return memory;
}

}  // namespace

Status Allocator::allocate(size_t bytes, void** memory) {
  *memory = nullptr;
  if (bytes == 0) return Status::ok();
  if (bytes > limit_) {
    return Status::error(Code::out_of_memory, "needs " + std::to_string(bytes) + " bytes, the limit is " + std::to_string(limit_));
  }
  const size_t size = block_bytes(bytes);
  if (holding_ && (*memory = take(held_, size))) {
    held_bytes_ -= size;
    statistics_.cached -= static_cast<int64_t>(size);
  } else if ((*memory = take(cache_, size))) {
    statistics_.cached -= static_cast<int64_t>(size);
  } else {
    if (static_cast<size_t>(statistics_.live + statistics_.cached) + size > limit_) trim();
    if (static_cast<size_t>(statistics_.live + statistics_.cached) + size > limit_) {
      return Status::error(Code::out_of_memory, "needs " + std::to_string(bytes) + " bytes, " + std::to_string(statistics_.live.load()) +
                                                    " of " + std::to_string(limit_) + " are live" +
                                                    (held_bytes_ ? ", " + std::to_string(held_bytes_) + " belong to captures" : ""));
    }
    Status status = backend_.allocate(size, memory);
    if (!status && status.code == Code::out_of_memory) {
      trim();
      status = backend_.allocate(size, memory);
    }
    if (!status) return status;
  }
  if (poison_) backend_.poison(*memory, size);
  const int64_t live = statistics_.live += static_cast<int64_t>(size);
  if (live > statistics_.peak) statistics_.peak = live;
  return Status::ok();
}

void Allocator::release(void* memory, size_t bytes) {
  if (!memory) return;
  const size_t size = block_bytes(bytes);
  statistics_.live -= static_cast<int64_t>(size);
  if (holding_) {
    statistics_.cached += static_cast<int64_t>(size);
    held_bytes_ += size;
    held_[size].push_back(memory);
  } else {
    keep(memory, size);
  }
}

void Allocator::keep(void* memory, size_t size) {
  if (exact_) return backend_.release(memory, size);
  statistics_.cached += static_cast<int64_t>(size);
  cache_[size].push_back(memory);
}

std::vector<Allocator::Block> Allocator::end_hold() {
  holding_ = false;
  std::vector<Block> blocks;
  for (const auto& [size, list] : held_)
    for (void* memory : list) blocks.push_back({memory, size});
  held_.clear();
  return blocks;
}

void Allocator::give_back(const std::vector<Block>& blocks) {
  for (const Block& block : blocks) {
    held_bytes_ -= block.bytes;
    statistics_.cached -= static_cast<int64_t>(block.bytes);
    keep(block.memory, block.bytes);
  }
}

void Allocator::trim() {
  for (auto& [size, blocks] : cache_)
    for (void* block : blocks) backend_.release(block, size);
  cache_.clear();
  statistics_.cached = static_cast<int64_t>(held_bytes_);
}

}  // namespace tilewise
