// Memory that a thread keeps from call to call: fresh pages would cost more than the products written to them.
#pragma once
#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>

namespace tilewise::cpu {

class Scratch {
 public:
  Scratch() = default;
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { std::free(data_); }

  // Room for count elements, 64-byte aligned (2 MiB where huge pages help), not cleared; null if the system has none.
  template <class T>
  T* take(int64_t count) {
    constexpr size_t kHugePage = size_t{2} << 20;
    const size_t bytes = static_cast<size_t>(count) * sizeof(T);
    if (bytes > capacity_ || !data_) {
      std::free(data_);
      const size_t alignment = bytes >= kHugePage / 2 ? kHugePage : 64;
      const size_t rounded = (bytes + alignment) / alignment * alignment;
      data_ = std::aligned_alloc(alignment, rounded);
      capacity_ = data_ ? rounded : 0;
      if (data_ && alignment == kHugePage) madvise(data_, rounded, MADV_HUGEPAGE);
    }
    return static_cast<T*>(data_);
  }

  // Gives back what an unusually large operand needed.
  void trim() {
    if (capacity_ <= kKeep) return;
    std::free(data_);
    data_ = nullptr;
    capacity_ = 0;
  }

 private:
  static constexpr size_t kKeep = size_t{64} << 20;
  void* data_ = nullptr;
  size_t capacity_ = 0;
};

}  // namespace tilewise::cpu
