#include "backend.h"

#include <cstdlib>

#include "device.h"

extern "C" const tilewise::OpFunction* tilewise_gpu_table_cuda();

namespace tilewise::cuda {
namespace {

constexpr int kLeastCapability = 80;

std::string version(int number) { return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10); }

class CudaBackend final : public Device {
 public:
  Status open(const Options& options) {
    exact_allocations_ = options.exact_allocations;
    TILEWISE_RETURN_IF_ERROR(Device::open(options.index, options.tf32, tilewise_gpu_table_cuda()));
    int driver = 0;
    (void)cudaDriverGetVersion(&driver);
    info_.kind = "cuda";
    info_.detail = "compute capability " + std::to_string(gpu_.capability / 10) + "." + std::to_string(gpu_.capability % 10) + ", " +
                   std::to_string(gpu_.multiprocessors) + " multiprocessors, GPU " + std::to_string(gpu_.index) + ", driver for CUDA " +
                   version(driver) + (gpu_.tf32 ? ", f32 products in tf32" : "");
    return Status::ok();
  }

  bool exact_allocations() const override { return exact_allocations_; }

 private:
  bool exact_allocations_ = false;
};

// Why there is nothing to use, in the words of someone who has to do something about it.
std::string explain(cudaError_t error, int driver, int runtime) {
  if (driver == 0) return "this machine has no NVIDIA driver";
  switch (error) {
    case cudaErrorInsufficientDriver:
      return "the NVIDIA driver is too old: it is for CUDA " + version(driver) + ", this build needs one for CUDA " + version(runtime);
    case cudaErrorNoDevice:
      return std::string("the NVIDIA driver shows no GPU") + (std::getenv("CUDA_VISIBLE_DEVICES") ? " (CUDA_VISIBLE_DEVICES is set)" : "");
    default:
      return std::string("the NVIDIA driver fails: ") + cudaGetErrorString(error) + " (" + cudaGetErrorName(error) + ")";
  }
}

}  // namespace

Probe probe() {
  Probe found;
  (void)cudaDriverGetVersion(&found.driver);
  (void)cudaRuntimeGetVersion(&found.runtime);
  int count = 0;
  if (const cudaError_t error = cudaGetDeviceCount(&count); error != cudaSuccess || count == 0) {
    found.refusal = explain(count == 0 && error == cudaSuccess ? cudaErrorNoDevice : error, found.driver, found.runtime);
    (void)cudaGetLastError();
    return found;
  }
  bool usable = false;
  for (int index = 0; index < count; ++index) {
    GpuInfo gpu;
    gpu.index = index;
    cudaDeviceProp properties;
    if (const cudaError_t error = cudaGetDeviceProperties(&properties, index); error != cudaSuccess) {
      gpu.refusal = explain(error, found.driver, found.runtime);
      (void)cudaGetLastError();
    } else {
      gpu.name = properties.name;
      gpu.capability = 10 * properties.major + properties.minor;
      gpu.memory_bytes = properties.totalGlobalMem;
      if (gpu.capability < kLeastCapability)
        gpu.refusal = "compute capability " + std::to_string(properties.major) + "." + std::to_string(properties.minor) +
                      ", the kernels need 8.0 or newer";
    }
    usable = usable || gpu.refusal.empty();
    found.gpus.push_back(std::move(gpu));
  }
  if (!usable) found.refusal = "GPU 0: " + found.gpus[0].refusal;
  return found;
}

Status make_backend(const Options& options, std::unique_ptr<Backend>* backend) {
  const Probe found = probe();
  const auto count = static_cast<int>(found.gpus.size());
  if (count == 0) return Status::error(Code::unsupported, found.refusal);
  if (options.index < 0 || options.index >= count)
    return Status::error(Code::unsupported, "there is no GPU " + std::to_string(options.index) + ": the driver shows " +
                                                (count == 1 ? "one, index 0" : std::to_string(count)));
  if (const std::string& refusal = found.gpus[options.index].refusal; !refusal.empty())
    return Status::error(Code::unsupported, "GPU " + std::to_string(options.index) + ": " + refusal);
  auto made = std::make_unique<CudaBackend>();
  TILEWISE_RETURN_IF_ERROR(made->open(options));
  *backend = std::move(made);
  return Status::ok();
}

}  // namespace tilewise::cuda
