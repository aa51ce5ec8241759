#include "memory.h"

#include <sys/mman.h>

#include <cstring>
#include <mutex>
#include <unordered_map>

namespace tilewise::simt {
namespace {

constexpr size_t kPage = 4096, kAlignment = 16;
constexpr size_t kGuard = 64 * kPage;  // on either side: wide, so that a wrong stride does not step over it

constexpr unsigned char kCanary = 0xa5;

struct Block {
  unsigned char* mapping;
  size_t mapped, bytes;
};

std::mutex g_mutex;
std::unordered_map<void*, Block> g_blocks;

}  // namespace

void* guarded_allocate(size_t bytes) {
  const size_t padded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  const size_t pages = (padded + kPage - 1) / kPage * kPage;
  const size_t mapped = pages + 2 * kGuard;
  void* mapping = mmap(nullptr, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) return nullptr;
  auto* base = static_cast<unsigned char*>(mapping);
  if (pages && mprotect(base + kGuard, pages, PROT_READ | PROT_WRITE) != 0) {
    munmap(mapping, mapped);
    return nullptr;
  }
  unsigned char* memory = base + kGuard + pages - padded;
  std::memset(base + kGuard, kCanary, pages - padded);
  std::memset(memory, 0xff, bytes);
  std::memset(memory + bytes, kCanary, padded - bytes);
  std::lock_guard<std::mutex> lock(g_mutex);
  g_blocks[memory] = {base, mapped, bytes};
  return memory;
}

std::string guarded_release(void* memory) {
  Block block;
  {
    std::lock_guard<std::mutex> lock(g_mutex);
    const auto found = g_blocks.find(memory);
    if (found == g_blocks.end()) return "released memory that is not a block's start";
    block = found->second;
    g_blocks.erase(found);
  }
  std::string damage;
  const auto* start = static_cast<const unsigned char*>(memory);
  for (const unsigned char* at = block.mapping + kGuard; at < start && damage.empty(); ++at)
    if (*at != kCanary)
      damage = "a write " + std::to_string(start - at) + " bytes before a block of " + std::to_string(block.bytes) + " bytes";
  for (const unsigned char* at = start + block.bytes; at < block.mapping + block.mapped - kGuard && damage.empty(); ++at)
    if (*at != kCanary)
      damage = "a write " + std::to_string(at - start - static_cast<std::ptrdiff_t>(block.bytes)) + " bytes behind a block of " +
               std::to_string(block.bytes) + " bytes";
  munmap(block.mapping, block.mapped);
  return damage;
}

}  // namespace tilewise::simt
