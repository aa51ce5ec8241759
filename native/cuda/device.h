// A GPU as the engine's device: one text for CUDA's runtime and for its stand-in on the machine of fibers. Made on any thread; everything
// else is called from one engine thread.
#pragma once
#include <memory>

#include "fault.h"
#include "staging.h"

namespace tilewise::TILEWISE_GPU {

class Device : public GpuBackend {
 public:
  Device() = default;
  ~Device() override;
  // The calls that can fail. `table` is that of table.cuh.
  Status open(int index, bool tf32, const OpFunction* table);

  const Gpu& gpu() const override { return gpu_; }
  DeviceInfo info() const override { return info_; }

  Status allocate(size_t bytes, void** memory) override;
  void release(void* memory, size_t bytes) override;
  void poison(void* memory, size_t bytes) override;
  Status upload(void* destination, const void* source, size_t bytes) override;
  Status download(void* destination, const void* source, size_t bytes) override;
  Status run(Op op, const void* args, Context& context) override;
  Status synchronize() override;
  Status mark(std::unique_ptr<Mark>* mark) override;
  Status elapsed(const Mark& from, const Mark& to, double* milliseconds) override;

  bool records() const override { return true; }
  Status begin_recording() override;
  Status end_recording(std::unique_ptr<Recording>* recording) override;
  Status launch(Recording& recording) override;

 protected:
  cudaStream_t stream() const { return static_cast<cudaStream_t>(gpu_.stream); }

  Gpu gpu_;
  DeviceInfo info_;
  Faults faults_;

 private:
  Status bind();

  const OpFunction* table_ = nullptr;
  std::unique_ptr<Staging> staging_;
  std::vector<cudaEvent_t> free_events_;  // of marks that are gone: making one takes as long as a short kernel
  bool recording_ = false;
};

}  // namespace tilewise::TILEWISE_GPU
