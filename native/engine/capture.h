// A captured command list, and how it is replayed: decoded anew, or, where the device records, as one launch of what was recorded.
//
// The first replay decodes the list and watches. Where nothing failed, nothing drew random numbers (their counters move on with each
// replay) and nothing made outside was freed, the second replay records, and from then on a replay is one launch. A recording knows
// addresses, so it holds only while every tensor it touches is where it was: that is checked before each launch, and where it is not so the
// list is decoded.
#pragma once
#include <memory>
#include <unordered_set>
#include <vector>

#include "allocator.h"
#include "slots.h"

namespace tilewise {

class Engine;
class Session;

// What a decoded run did, as far as a recording has to know.
struct Trace {
  bool recording = false;  // the backend is: a kernel's failure poisons nothing, the list will be decoded again
  bool recordable = true;
  std::unordered_set<int32_t> outside;  // slots it used and had not made
  std::unordered_set<int32_t> own;      // slots it made
};

class Capture {
 public:
  explicit Capture(std::vector<int32_t> words);
  ~Capture();

  void replay(Engine& engine, Session& session, uint64_t counter_base);

 private:
  struct Recorded;

  void decode(Engine& engine, Session& session, uint64_t counter_base, Trace* trace);
  bool record(Engine& engine, Session& session);

  const std::vector<int32_t> words_;
  bool tried_ = false;     // decoded once, so that all memory is there and every kernel is loaded
  int attempts_left_ = 4;  // a capture whose tensors move from replay to replay is not recorded for ever
  std::unique_ptr<Recorded> recorded_;
};

}  // namespace tilewise
