#include "devices.h"

#include <map>
#include <mutex>

#include "../cpu/backend.h"
#if defined(TILEWISE_CUDA)
#include "../cuda/backend.h"
#endif
#if defined(TILEWISE_SIMT)
#include "../simt/backend.h"
#endif

namespace tilewise {

namespace {

Status make_backend(const DeviceOptions& options, std::unique_ptr<Backend>* backend) {
  if (options.kind == "cpu") return cpu::make_backend({options.threads, options.isa}, backend);
#if defined(TILEWISE_CUDA)
  if (options.kind == "cuda") return cuda::make_backend({options.index, options.tf32, options.exact_allocations}, backend);
#endif
#if defined(TILEWISE_SIMT)
  if (options.kind == "simt")
    return simt::make_backend({options.schedule, options.tf32, options.counters, options.sites, options.suppressed}, backend);
#endif
  return Status::error(Code::unsupported, "this build has no device '" + options.kind + "'");
}

#if defined(TILEWISE_CUDA)
std::string version(int number) { return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10); }
#endif

}  // namespace

GpuReport report_gpus() {
  GpuReport report;
#if defined(TILEWISE_CUDA)
  const cuda::Probe found = cuda::probe();
  report.built = true;
  report.kernels = "sm_80, sm_90a, PTX for newer ones";
  if (found.driver) report.driver = version(found.driver);
  report.runtime = version(found.runtime);
  report.refusal = found.refusal;
  for (const cuda::GpuInfo& gpu : found.gpus)
    report.gpus.push_back({gpu.index, gpu.name, std::to_string(gpu.capability / 10) + "." + std::to_string(gpu.capability % 10),
                           static_cast<double>(gpu.memory_bytes), gpu.refusal});
#else
  report.refusal = "this build has no CUDA device";
#endif
  return report;
}

Status open_engine(const DeviceOptions& options, std::shared_ptr<Engine>* engine) {
  static std::mutex mutex;
  static std::map<std::string, std::weak_ptr<Engine>> engines;
  std::lock_guard<std::mutex> lock(mutex);
  const std::string key = options.kind + "/" + std::to_string(options.threads) + "/" + std::to_string(options.memory_limit) + "/" +
                          options.isa + "/" + std::to_string(options.index) + (options.tf32 ? "/tf32" : "") + "/" + options.schedule + "/" +
                          options.suppressed + (options.counters ? "/counters" : "") + (options.sites ? "/sites" : "") +
                          (options.poison ? "/poison" : "") + (options.exact_allocations ? "/exact" : "");
  if ((*engine = engines[key].lock())) return Status::ok();

  std::unique_ptr<Backend> backend;
  TILEWISE_RETURN_IF_ERROR(make_backend(options, &backend));
  *engine = std::make_shared<Engine>(std::move(backend), static_cast<size_t>(options.memory_limit), options.poison);
  engines[key] = *engine;
  return Status::ok();
}

}  // namespace tilewise
