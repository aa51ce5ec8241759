#include "backend.h"

#include <cstring>
#include <nlohmann/json.hpp>

#include "../cuda/gpu.h"
#include "runtime.h"

extern "C" const tilewise::OpFunction* tilewise_gpu_table_simt();

namespace tilewise::simt {
namespace {

class SimtBackend final : public GpuBackend {
 public:
  SimtBackend(const Options& options, Schedule schedule) {
    cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking);
    stream_->machine.schedule = schedule;
    stream_->machine.counting = options.counters;
    stream_->machine.recording_sites = options.sites;
    stream_->machine.suppressed = options.suppressed;
    gpu_.capability = 90;
    gpu_.multiprocessors = 4;  // few, so that grids of a persistent kernel have several tiles a block
    gpu_.shared_per_block = kMaxShared;
    gpu_.l2_bytes = size_t{1} << 20;
    gpu_.stream = stream_;
    info_.kind = "simt";
    info_.name = "machine of fibers";
    info_.detail = "sm_90 instructions, " + options.schedule + ", for tests";
    info_.memory_bytes = size_t{8} << 30;
    info_.threads = 1;
    info_.native_bf16 = true;
  }
  ~SimtBackend() override { cudaStreamDestroy(stream_); }

  const Gpu& gpu() const override { return gpu_; }
  DeviceInfo info() const override { return info_; }
  bool exact_allocations() const override { return true; }

  Status allocate(size_t bytes, void** memory) override {
    if (cudaMalloc(memory, bytes) == cudaSuccess) return Status::ok();
    return Status::error(Code::out_of_memory, "the system has no " + std::to_string(bytes) + " bytes");
  }
  void release(void* memory, size_t) override { cudaFree(memory); }
  void poison(void* memory, size_t bytes) override { std::memset(memory, 0xff, bytes); }
  Status upload(void* destination, const void* source, size_t bytes) override {
    if (bytes) std::memcpy(destination, source, bytes);
    return Status::ok();
  }
  Status download(void* destination, const void* source, size_t bytes) override { return upload(destination, source, bytes); }
  Status synchronize() override {
    const std::string damage = take_damage();
    return damage.empty() ? Status::ok() : Status::error(Code::device_error, damage);
  }
  Status run(Op op, const void* args, Context& context) override { return tilewise_gpu_table_simt()[static_cast<int>(op)](context, args); }

  std::string report() const override {
    nlohmann::json report = nlohmann::json::object();
    for (const auto& [name, c] : stream_->machine.counters().kernels())
      report["kernels"][name] = {
          {"launches", c.launches},
          {"loadRequests", c.load_requests},
          {"loadSectors", c.load_sectors},
          {"loadBytes", c.load_bytes},
          {"storeRequests", c.store_requests},
          {"storeSectors", c.store_sectors},
          {"storeBytes", c.store_bytes},
          {"sharedRequests", c.shared_requests},
          {"sharedWavefronts", c.shared_wavefronts},
          {"sharedIdeal", c.shared_ideal},
          {"matrixInstructions", c.matrix_instructions},
      };
    for (const auto& [name, what] : stream_->machine.sites()) report["sites"][name] = what;
    stream_->machine.counters().clear();
    stream_->machine.clear_sites();
    return report.dump();
  }

 private:
  Gpu gpu_;
  DeviceInfo info_;
  cudaStream_t stream_ = nullptr;
};

}  // namespace

Status make_backend(const Options& options, std::unique_ptr<Backend>* backend) {
  Schedule schedule;
  if (options.schedule == "in-order")
    schedule = Schedule::in_order;
  else if (options.schedule == "warp-greedy")
    schedule = Schedule::warp_greedy;
  else if (options.schedule == "warp-greedy-reversed")
    schedule = Schedule::warp_greedy_reversed;
  else
    return Status::error(Code::invalid_argument,
                         "schedule must be 'in-order', 'warp-greedy' or 'warp-greedy-reversed', is '" + options.schedule + "'");
  *backend = std::make_unique<SimtBackend>(options, schedule);
  return Status::ok();
}

}  // namespace tilewise::simt
