#include "backend.h"

#include <dlfcn.h>

#include <nlohmann/json.hpp>

#include "../cuda/device.h"

extern "C" const tilewise::OpFunction* tilewise_gpu_table_simt();

namespace tilewise::simt {
namespace {

// A function is told by its distance from the start of the file that it was loaded from, as the file's symbol table has it.
nlohmann::json shapes_of(const std::vector<LaunchCount>& shapes) {
  nlohmann::json list = nlohmann::json::array();
  for (const LaunchCount& each : shapes) {
    Dl_info file{};
    const bool found = dladdr(each.function, &file) != 0;
    list.push_back({
        {"function", found ? static_cast<const char*>(each.function) - static_cast<const char*>(file.dli_fbase) : 0},
        {"grid", each.grid},
        {"block", each.block},
        {"dynamicShared", each.dynamic_shared},
        {"launches", each.launches},
    });
  }
  return list;
}

class SimtBackend final : public Device {
 public:
  Status open(const Options& options, Schedule schedule) {
    TILEWISE_RETURN_IF_ERROR(Device::open(0, options.tf32, tilewise_gpu_table_simt()));
    Machine& machine = stream()->machine;
    machine.schedule = schedule;
    machine.counting = options.counters;
    machine.recording_sites = options.sites;
    machine.suppressed = options.suppressed;
    info_.kind = "simt";
    info_.detail = "sm_90 instructions, " + options.schedule + ", for tests";
    return Status::ok();
  }

  bool exact_allocations() const override { return true; }

  // A kernel is done when it has been launched, so an op is told of its own bad indices, and what depends on it is skipped.
  Status run(Op op, const void* args, Context& context) override {
    TILEWISE_RETURN_IF_ERROR(Device::run(op, args, context));
    return stream()->capturing ? Status::ok() : faults_.take();
  }

  std::string take_report() override {
    nlohmann::json report = nlohmann::json::object();
    for (const auto& [name, c] : stream()->machine.counters().kernels())
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
          {"distinctSectors", c.distinct_sectors},
          {"shapes", shapes_of(stream()->machine.counters().shapes(name))},
      };
    for (const auto& [name, what] : stream()->machine.sites()) report["sites"][name] = what;
    stream()->machine.counters().clear();
    stream()->machine.clear_sites();
    return report.dump();
  }
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
  auto made = std::make_unique<SimtBackend>();
  TILEWISE_RETURN_IF_ERROR(made->open(options, schedule));
  *backend = std::move(made);
  return Status::ok();
}

}  // namespace tilewise::simt
