// The tensors of one session: integers on the JavaScript side, buffers and views here.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "allocator.h"

namespace tilewise {

// What a failed op leaves in its outputs, and what whoever reads them is told.
struct Failure {
  Code code;
  std::string message;  // "[attention] …"
  std::string detail;   // shapes of the op's tensors; for out of memory the largest owners
};

// Memory that one or more slots view.
struct Buffer {
  Buffer(Allocator& allocator, void* data, size_t bytes, std::string owner)
      : allocator(allocator), data(data), bytes(bytes), owner(std::move(owner)) {}
  ~Buffer() { allocator.release(data, bytes); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  Allocator& allocator;
  void* data;
  size_t bytes;
  std::string owner;  // the op that asked for it: what an out-of-memory report names

  // Why the contents are not what the commands say, if they are not. All views share it: a part that was not written spoils the whole.
  std::shared_ptr<const Failure> failure;
  // The failure has kept updates away and touched nothing: the contents are whole, as they were before.
  bool stale = false;
};

struct Slot {
  std::shared_ptr<Buffer> buffer;
  View view = absent_view();
  std::shared_ptr<const Failure> no_memory;  // why there is no buffer
  const char* owner = nullptr;               // who asked for memory; none for a view

  bool used() const { return view.rank >= 0; }
  // What whoever reads this is told; none: it may be read.
  std::shared_ptr<const Failure> failure() const { return buffer ? buffer->failure : no_memory; }
  bool covers_buffer() const {
    return buffer && view.contiguous() && static_cast<size_t>(view.count()) * size_of(view.dtype) == buffer->bytes;
  }
  // All elements of the view have been written.
  void written() {
    if (covers_buffer()) buffer->failure = nullptr;
  }
};

class Slots {
 public:
  // nullptr for a slot that is out of range or empty.
  Slot* find(int32_t index) {
    if (index < 0 || static_cast<size_t>(index) >= slots_.size() || !slots_[index].used()) return nullptr;
    return &slots_[index];
  }
  Slot& at(int32_t index) {
    if (static_cast<size_t>(index) >= slots_.size()) slots_.resize(index + 1 + index / 2);
    return slots_[index];
  }
  void clear() { slots_.clear(); }
  const std::vector<Slot>& all() const { return slots_; }

 private:
  std::vector<Slot> slots_;
};

}  // namespace tilewise
