#include "devices.h"

#include <map>
#include <mutex>

#include "../cpu/backend.h"

namespace tilewise {

Status open_engine(const DeviceOptions& options, std::shared_ptr<Engine>* engine) {
  static std::mutex mutex;
  static std::map<std::string, std::weak_ptr<Engine>> engines;
  std::lock_guard<std::mutex> lock(mutex);
  const std::string key = options.kind + "/" + std::to_string(options.threads) + "/" + std::to_string(options.memory_limit) + "/" +
                          options.isa + (options.poison ? "/poison" : "");
  if ((*engine = engines[key].lock())) return Status::ok();

  std::unique_ptr<Backend> backend;
  if (options.kind != "cpu") return Status::error(Code::unsupported, "this build has no device '" + options.kind + "'");
  cpu::Options cpu_options;
  cpu_options.threads = options.threads;
  cpu_options.isa = options.isa;
  TILEWISE_RETURN_IF_ERROR(cpu::make_backend(cpu_options, &backend));
  *engine = std::make_shared<Engine>(std::move(backend), static_cast<size_t>(options.memory_limit), options.poison);
  engines[key] = *engine;
  return Status::ok();
}

}  // namespace tilewise
