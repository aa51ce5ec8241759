#include "devices.h"

#include <map>
#include <mutex>

#include "../cpu/backend.h"
#if defined(TILEWISE_SIMT)
#include "../simt/backend.h"
#endif

namespace tilewise {

namespace {

Status make_backend(const DeviceOptions& options, std::unique_ptr<Backend>* backend) {
  if (options.kind == "cpu") return cpu::make_backend({options.threads, options.isa}, backend);
#if defined(TILEWISE_SIMT)
  if (options.kind == "simt") return simt::make_backend({options.schedule, options.counters, options.sites, options.suppressed}, backend);
#endif
  return Status::error(Code::unsupported, "this build has no device '" + options.kind + "'");
}

}  // namespace

Status open_engine(const DeviceOptions& options, std::shared_ptr<Engine>* engine) {
  static std::mutex mutex;
  static std::map<std::string, std::weak_ptr<Engine>> engines;
  std::lock_guard<std::mutex> lock(mutex);
  const std::string key = options.kind + "/" + std::to_string(options.threads) + "/" + std::to_string(options.memory_limit) + "/" +
                          options.isa + "/" + options.schedule + "/" + options.suppressed + (options.counters ? "/counters" : "") +
                          (options.sites ? "/sites" : "") + (options.poison ? "/poison" : "");
  if ((*engine = engines[key].lock())) return Status::ok();

  std::unique_ptr<Backend> backend;
  TILEWISE_RETURN_IF_ERROR(make_backend(options, &backend));
  *engine = std::make_shared<Engine>(std::move(backend), static_cast<size_t>(options.memory_limit), options.poison);
  engines[key] = *engine;
  return Status::ok();
}

}  // namespace tilewise
