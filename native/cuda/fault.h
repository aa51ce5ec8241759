// Bad indices that kernels report. The host cannot know when it launches: each op that reads indices gets a record in host memory that
// kernels write, and the records are looked at when the stream has been waited for. The next read or synchronization then rejects and names
// the op, the element and its value; what was computed meanwhile took the row as absent.
#pragma once
#include <memory>
#include <vector>

#include "errors.h"

namespace tilewise::TILEWISE_GPU {

class Faults {
 public:
  // An op that has been launched, and the record of its kernels.
  struct Watch {
    Op op;
    std::vector<unsigned char> args;  // plain data, but for the tensors' memory, which is not looked at
    DeviceFault* record;
    bool recorded;  // into a graph, whose replays write the same record
  };

  Faults() = default;
  ~Faults();
  Faults(const Faults&) = delete;
  Faults& operator=(const Faults&) = delete;

  // The record for an op about to run, null where its kernels read no indices. recording: a graph is being recorded.
  Status begin(Op op, const void* args, bool recording, DeviceFault** record);
  // The stream's work is done: the earliest op's error, if there is one. All records are clear afterwards.
  Status take();
  // The watches begun since recording began; `release` gives their records back when the graph goes.
  std::vector<Watch> recorded();
  void launched(const std::vector<Watch>& graph);
  void release(const std::vector<Watch>& graph);

 private:
  std::vector<Watch> watches_, recorded_;
  std::vector<DeviceFault*> free_;
  std::vector<void*> blocks_;
};

}  // namespace tilewise::TILEWISE_GPU
