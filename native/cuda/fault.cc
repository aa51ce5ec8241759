#include "fault.h"

#include <algorithm>
#include <new>
#include <utility>

#include "../core/index_error.h"
#include "../core/qkv.h"

namespace tilewise::TILEWISE_GPU {
namespace {

constexpr int kRecordsInBlock = 256;

bool reads_indices(Op op, const void* args) {
  switch (op) {
    case Op::qkv: {
      const auto& a = *static_cast<const qkv_args*>(args);
      return a.position_ids || a.slots;
    }
    case Op::qkv_backward:
      return static_cast<bool>(static_cast<const qkv_backward_args*>(args)->position_ids);
    case Op::attention:
      return static_cast<bool>(static_cast<const attention_args*>(args)->cache_lengths);
    case Op::gather_rows:
    case Op::scatter_rows:
    case Op::embedding:
    case Op::embedding_backward:
    case Op::cross_entropy:
      return true;
    default:
      return false;
  }
}

// The words of the CPU device.
Status error_of(const DeviceFault& fault, Op op, const void* args) {
  const int which = fault.first[0] != DeviceFault::kNone ? 0 : 1;
  if (fault.first[which] == DeviceFault::kNone) return Status::ok();
  const auto at = static_cast<int64_t>(fault.first[which] >> 32);
  const auto value = static_cast<int32_t>(static_cast<uint32_t>(fault.first[which]));
  switch (op) {
    case Op::gather_rows: {
      const auto& a = *static_cast<const gather_rows_args*>(args);
      return index_error("index", a.index, at, a.x.dims[0], value);
    }
    case Op::scatter_rows: {
      const auto& a = *static_cast<const scatter_rows_args*>(args);
      return index_error("index", a.index, at, a.y.dims[0], value);
    }
    case Op::embedding: {
      const auto& a = *static_cast<const embedding_args*>(args);
      return which == 0 ? index_error("ids", a.ids, at, a.table.dims[0], value)
                        : index_error("position_ids", a.position_ids, at, a.positions.dims[0], value);
    }
    case Op::embedding_backward: {
      const auto& a = *static_cast<const embedding_backward_args*>(args);
      return which == 0 ? index_error("ids", a.ids, at, a.dtable.dims[0], value)
                        : index_error("position_ids", a.position_ids, at, a.dpositions.dims[0], value);
    }
    case Op::qkv: {
      const auto& a = *static_cast<const qkv_args*>(args);
      return which == 0 ? index_error("position_ids", a.position_ids, at, a.cosines.dims[0], value)
                        : index_error("slots", a.slots, at, slot_rows(a), value);
    }
    case Op::qkv_backward: {
      const auto& a = *static_cast<const qkv_backward_args*>(args);
      return index_error("position_ids", a.position_ids, at, a.cosines.dims[0], value);
    }
    case Op::attention: {
      const auto& a = *static_cast<const attention_args*>(args);
      return which == 0 ? index_error("cache_lengths", a.cache_lengths, at, int64_t{a.max_k} + 1, value)
                        : index_error("block_table", a.block_table, at, a.k.dims[0], value);
    }
    case Op::cross_entropy: {
      const auto& a = *static_cast<const cross_entropy_args*>(args);
      return target_error(at, a.logits.last(), a.ignore_index, value);
    }
    default:
      return Status::error(Code::device_error, "a kernel reports an index out of range");
  }
}

}  // namespace

Faults::~Faults() {
  for (void* block : blocks_) (void)cudaFreeHost(block);
}

Status Faults::begin(Op op, const void* args, bool recording, DeviceFault** record) {
  *record = nullptr;
  if (!reads_indices(op, args)) return Status::ok();
  if (free_.empty()) {
    void* block = nullptr;
    TILEWISE_RETURN_IF_CUDA_ERROR("cudaHostAlloc", cudaHostAlloc(&block, kRecordsInBlock * sizeof(DeviceFault), cudaHostAllocDefault));
    blocks_.push_back(block);
    for (int i = 0; i < kRecordsInBlock; ++i) free_.push_back(new (static_cast<DeviceFault*>(block) + i) DeviceFault);
  }
  *record = free_.back();
  free_.pop_back();
  const auto* bytes = static_cast<const unsigned char*>(args);
  (recording ? recorded_ : watches_)
      .push_back({op, std::vector<unsigned char>(bytes, bytes + kOps[static_cast<int>(op)].args_size), *record, recording});
  return Status::ok();
}

Status Faults::take() {
  Status first;
  for (const Watch& watch : watches_) {
    Status status = error_of(*watch.record, watch.op, watch.args.data());
    if (first && !status)
      first = Status::error(status.code, std::string("[") + kOps[static_cast<int>(watch.op)].name + "] " + status.message);
    *watch.record = DeviceFault{};
    if (!watch.recorded) free_.push_back(watch.record);
  }
  watches_.clear();
  return first;
}

std::vector<Faults::Watch> Faults::recorded() { return std::exchange(recorded_, {}); }

void Faults::launched(const std::vector<Watch>& graph) {
  for (const Watch& watch : graph)
    if (std::none_of(watches_.begin(), watches_.end(), [&](const Watch& w) { return w.record == watch.record; })) watches_.push_back(watch);
}

void Faults::release(const std::vector<Watch>& graph) {
  for (const Watch& watch : graph) {
    watches_.erase(std::remove_if(watches_.begin(), watches_.end(), [&](const Watch& w) { return w.record == watch.record; }),
                   watches_.end());
    free_.push_back(watch.record);
  }
}

}  // namespace tilewise::TILEWISE_GPU
