// Transfers between the host's memory and the device's, by way of pinned memory: only from there does the GPU copy by itself, while the
// engine thread goes on. Used by one thread, on one stream.
#pragma once
#include <deque>
#include <vector>

#include "errors.h"

namespace tilewise::TILEWISE_GPU {

class Staging {
 public:
  explicit Staging(cudaStream_t stream) : stream_(stream) {}
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  // Returns when `source` may be changed; the copy itself happens in the stream's order.
  Status upload(void* destination, const void* source, size_t bytes);
  // Returns when `destination` holds what the stream's work so far leaves in `source`.
  Status download(void* destination, const void* source, size_t bytes);

 private:
  // A stretch of the ring that a copy still reads. Positions count up; modulo the ring's size they are places.
  struct Span {
    uint64_t end;
    cudaEvent_t event;
  };
  Status reserve(size_t bytes, unsigned char** place);
  Status take_event(cudaEvent_t* event);

  cudaStream_t stream_;
  unsigned char* ring_ = nullptr;  // for uploads; allocated by the first
  uint64_t head_ = 0, tail_ = 0;
  std::deque<Span> spans_;
  std::vector<cudaEvent_t> free_events_;
  unsigned char* landing_ = nullptr;  // for downloads: two pieces, of which one fills while the other is copied out
  cudaEvent_t landed_[2] = {};
};

}  // namespace tilewise::TILEWISE_GPU
