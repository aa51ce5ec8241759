#include "backend.h"

#include "gemm.h"

#include <omp.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>

extern "C" {
const tilewise::OpFunction* tilewise_cpu_table_baseline();
const tilewise::OpFunction* tilewise_cpu_table_avx2();
const tilewise::OpFunction* tilewise_cpu_table_avx512();
}

namespace tilewise::cpu {
namespace {

struct InstructionSet {
  const char* name;
  bool supported;
  const OpFunction* (*table)();
};

const InstructionSet* choose(const std::string& wanted) {
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  static const InstructionSet sets[] = {
      {"avx512", avx512, tilewise_cpu_table_avx512},
      {"avx2", avx2, tilewise_cpu_table_avx2},
      {"baseline", true, tilewise_cpu_table_baseline},
  };
  for (const InstructionSet& set : sets)
    if (set.supported && (wanted == "auto" || wanted == set.name)) return &set;
  return nullptr;
}

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  return "x86-64 processor";
}

// What this process may use: the machine's memory, or its control group's part of it.
size_t memory_bytes() {
  size_t bytes = static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
  std::ifstream limit("/sys/fs/cgroup/memory.max");
  size_t value = 0;
  if (limit >> value && value > 0) bytes = std::min(bytes, value);
  return bytes;
}

int available_cores() {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof(set), &set) == 0 ? std::max(1, CPU_COUNT(&set)) : 1;
}

const char* name_of(Bf16Path path) {
  switch (path) {
    case Bf16Path::amx:
      return "bf16 on the tile unit (AMX)";
    case Bf16Path::onednn:
      return "bf16 instructions";
    case Bf16Path::through_f32:
      return "bf16 through f32";
  }
  return "";
}

class CpuBackend final : public Backend {
 public:
  CpuBackend(const InstructionSet& isa, int threads) : table_(isa.table()) {
    info_.kind = "cpu";
    info_.name = processor_name();
    info_.threads = threads > 0 ? threads : available_cores();
    info_.memory_bytes = memory_bytes();
    const Bf16Path path = bf16_path();
    info_.native_bf16 = path != Bf16Path::through_f32;
    info_.detail =
        std::string(isa.name) + ", " + name_of(path) + ", " + std::to_string(info_.threads) + (info_.threads == 1 ? " thread" : " threads");
  }

  DeviceInfo info() const override { return info_; }

  Status allocate(size_t bytes, void** memory) override {
    // Large blocks start on a huge page: fewer TLB misses in matrix products.
    constexpr size_t kHugePage = size_t{2} << 20;
    const size_t alignment = bytes >= 2 * kHugePage ? kHugePage : 64;
    *memory = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
    if (!*memory) return Status::error(Code::out_of_memory, "the system has no " + std::to_string(bytes) + " bytes");
    if (alignment == kHugePage) madvise(*memory, bytes, MADV_HUGEPAGE);
    return Status::ok();
  }
  void release(void* memory, size_t) override { std::free(memory); }
  void poison(void* memory, size_t bytes) override { std::memset(memory, 0xff, bytes); }

  Status upload(void* destination, const void* source, size_t bytes) override { return move(destination, source, bytes); }
  Status download(void* destination, const void* source, size_t bytes) override { return move(destination, source, bytes); }
  Status synchronize() override { return Status::ok(); }

  Status run(Op op, const void* args, Context& context) override {
    omp_set_num_threads(info_.threads);  // a property of the calling thread, which is the engine's
    return table_[static_cast<int>(op)](context, args);
  }

 private:
  static Status move(void* destination, const void* source, size_t bytes) {
    if (bytes) std::memcpy(destination, source, bytes);
    return Status::ok();
  }

  const OpFunction* table_;
  DeviceInfo info_;
};

}  // namespace

Status make_backend(const Options& options, std::unique_ptr<Backend>* backend) {
  const InstructionSet* isa = choose(options.isa);
  if (!isa) return Status::error(Code::unsupported, "instruction set '" + options.isa + "' is not this processor's");
  *backend = std::make_unique<CpuBackend>(*isa, options.threads);
  return Status::ok();
}

}  // namespace tilewise::cpu
