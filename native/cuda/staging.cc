#include "staging.h"

#include <algorithm>
#include <cstring>

namespace tilewise::TILEWISE_GPU {
namespace {

constexpr size_t kRing = size_t{16} << 20, kPiece = size_t{4} << 20;  // bytes; several pieces are under way at once
constexpr size_t kAlignment = 256;

}  // namespace

Staging::~Staging() {
  for (const Span& span : spans_) (void)cudaEventDestroy(span.event);
  for (cudaEvent_t event : free_events_) (void)cudaEventDestroy(event);
  for (cudaEvent_t event : landed_)
    if (event) (void)cudaEventDestroy(event);
  if (ring_) (void)cudaFreeHost(ring_);
  if (landing_) (void)cudaFreeHost(landing_);
}

Status Staging::take_event(cudaEvent_t* event) {
  if (free_events_.empty()) return status_of(cudaEventCreateWithFlags(event, cudaEventDisableTiming), "making an event");
  *event = free_events_.back();
  free_events_.pop_back();
  return Status::ok();
}

Status Staging::reserve(size_t bytes, unsigned char** place) {
  if (!ring_) {
    void* memory = nullptr;
    TILEWISE_RETURN_IF_CUDA_ERROR("allocating pinned memory", cudaHostAlloc(&memory, kRing, cudaHostAllocDefault));
    ring_ = static_cast<unsigned char*>(memory);
  }
  bytes = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  const uint64_t to_end = kRing - head_ % kRing;
  if (bytes > to_end) head_ += to_end;  // a piece lies in one stretch
  while (head_ + bytes - tail_ > kRing) {
    if (spans_.empty()) {
      tail_ = head_;
      break;
    }
    const Span oldest = spans_.front();
    TILEWISE_RETURN_IF_CUDA_ERROR("waiting for an upload", cudaEventSynchronize(oldest.event));
    spans_.pop_front();
    free_events_.push_back(oldest.event);
    tail_ = oldest.end;
  }
  *place = ring_ + head_ % kRing;
  head_ += bytes;
  return Status::ok();
}

Status Staging::upload(void* destination, const void* source, size_t bytes) {
  for (size_t done = 0; done < bytes;) {
    const size_t piece = std::min(kPiece, bytes - done);
    unsigned char* place = nullptr;
    cudaEvent_t event;
    TILEWISE_RETURN_IF_ERROR(reserve(piece, &place));
    std::memcpy(place, static_cast<const unsigned char*>(source) + done, piece);
    TILEWISE_RETURN_IF_CUDA_ERROR(
        "uploading", cudaMemcpyAsync(static_cast<unsigned char*>(destination) + done, place, piece, cudaMemcpyHostToDevice, stream_));
    TILEWISE_RETURN_IF_ERROR(take_event(&event));
    spans_.push_back({head_, event});
    TILEWISE_RETURN_IF_CUDA_ERROR("recording an event", cudaEventRecord(event, stream_));
    done += piece;
  }
  return Status::ok();
}

Status Staging::download(void* destination, const void* source, size_t bytes) {
  if (bytes && !landing_) {
    void* memory = nullptr;
    for (cudaEvent_t& event : landed_)
      if (!event) TILEWISE_RETURN_IF_CUDA_ERROR("making an event", cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    TILEWISE_RETURN_IF_CUDA_ERROR("allocating pinned memory", cudaHostAlloc(&memory, 2 * kPiece, cudaHostAllocDefault));
    landing_ = static_cast<unsigned char*>(memory);
  }
  const size_t pieces = (bytes + kPiece - 1) / kPiece;
  for (size_t i = 0; i <= pieces; ++i) {
    if (i < pieces) {
      const size_t size = std::min(kPiece, bytes - i * kPiece);
      TILEWISE_RETURN_IF_CUDA_ERROR("downloading",
                                    cudaMemcpyAsync(landing_ + i % 2 * kPiece, static_cast<const unsigned char*>(source) + i * kPiece, size,
                                                    cudaMemcpyDeviceToHost, stream_));
      TILEWISE_RETURN_IF_CUDA_ERROR("recording an event", cudaEventRecord(landed_[i % 2], stream_));
    }
    if (i == 0) continue;
    const size_t before = i - 1, size = std::min(kPiece, bytes - before * kPiece);
    TILEWISE_RETURN_IF_CUDA_ERROR("downloading", cudaEventSynchronize(landed_[before % 2]));
    std::memcpy(static_cast<unsigned char*>(destination) + before * kPiece, landing_ + before % 2 * kPiece, size);
  }
  return Status::ok();
}

}  // namespace tilewise::TILEWISE_GPU
