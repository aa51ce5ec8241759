#include "capture.h"

#include "interpreter.h"

namespace tilewise {
namespace {

// Where a slot's tensor was when it was recorded; rank -1: there was none.
struct Place {
  int32_t slot;
  View view;
};

bool same(const View& a, const View& b) {
  if (a.rank != b.rank) return false;
  if (a.rank < 0) return true;
  if (a.data != b.data || a.dtype != b.dtype) return false;
  for (int i = 0; i < a.rank; ++i)
    if (a.dims[i] != b.dims[i] || a.strides[i] != b.strides[i]) return false;
  return true;
}

View view_of(Session& session, int32_t slot) {
  const Slot* found = session.slots.find(slot);
  return found ? found->view : absent_view();
}

}  // namespace

struct Capture::Recorded {
  Allocator& allocator;
  std::unique_ptr<Recording> work;
  std::vector<Place> places;
  std::vector<Allocator::Block> blocks;  // what the work writes in between: nobody else may have it

  explicit Recorded(Allocator& allocator) : allocator(allocator) {}
  ~Recorded() {
    work.reset();
    allocator.give_back(blocks);
  }

  bool holds(Session& session) const {
    for (const Place& place : places) {
      const Slot* slot = session.slots.find(place.slot);
      if (slot && slot->failure()) return false;  // decoding passes the failure on
      if (!same(slot ? slot->view : absent_view(), place.view)) return false;
    }
    return true;
  }
};

Capture::Capture(std::vector<int32_t> words) : words_(std::move(words)) {}
Capture::~Capture() = default;

void Capture::replay(Engine& engine, Session& session, uint64_t counter_base) {
  if (recorded_ && !recorded_->holds(session)) recorded_.reset();
  if (!recorded_ && tried_ && attempts_left_ > 0 && !engine.lost()) {
    --attempts_left_;
    if (!record(engine, session)) attempts_left_ = 0;
  }
  if (recorded_) {
    const Status status = engine.backend().launch(*recorded_->work);
    if (status) return;
    engine.note(status, "replay");
    recorded_.reset();
    attempts_left_ = 0;
  }
  Trace trace;
  decode(engine, session, counter_base, &trace);
  tried_ = true;
  if (!trace.recordable || !engine.backend().records()) attempts_left_ = 0;
}

void Capture::decode(Engine& engine, Session& session, uint64_t counter_base, Trace* trace) {
  Interpreter(engine, session, counter_base, trace).execute(words_.data(), words_.size());
}

// What is decoded meanwhile makes and frees its tensors as ever; only the kernels do not run.
bool Capture::record(Engine& engine, Session& session) {
  auto recorded = std::make_unique<Recorded>(engine.allocator());
  if (!engine.backend().begin_recording()) return false;
  engine.allocator().begin_hold();
  Trace trace;
  trace.recording = true;
  decode(engine, session, 0, &trace);
  recorded->blocks = engine.allocator().end_hold();
  const Status status = engine.backend().end_recording(&recorded->work);
  engine.note(status, "capture");
  if (!status || !trace.recordable) return false;
  for (const auto* slots : {&trace.outside, &trace.own})
    for (int32_t slot : *slots) recorded->places.push_back({slot, view_of(session, slot)});
  recorded_ = std::move(recorded);
  return true;
}

}  // namespace tilewise
