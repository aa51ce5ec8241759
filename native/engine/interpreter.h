// Executes one chunk of command words on one session.
#pragma once
#include "engine.h"

namespace tilewise {

class Interpreter final : public Context {
 public:
  // trace: filled in for a capture.
  Interpreter(Engine& engine, Session& session, uint64_t counter_base, Trace* trace = nullptr)
      : engine_(engine), session_(session), counter_base_(counter_base), trace_(trace) {}
  ~Interpreter() override { release_scratch(); }

  void execute(const int32_t* words, size_t count);
  Status scratch(size_t bytes, void** memory) override;
  Backend& backend() override { return *engine_.backend_; }

 private:
  const int32_t* allocate(const int32_t* word);
  void obtain(Slot& slot);
  void restore(Slot& slot);
  void mark(int32_t number);
  const int32_t* view(const int32_t* word);
  const int32_t* run(Op op, const int32_t* word);
  void release_scratch();
  std::shared_ptr<const Failure> describe(const OpInfo& op, const void* args, const Status& status) const;
  std::string largest_owners() const;

  Engine& engine_;
  Session& session_;
  uint64_t counter_base_;
  Trace* trace_;
  std::vector<std::pair<void*, size_t>> scratch_;
  std::vector<View> list_views_;
  std::vector<std::pair<Slot*, FieldKind>> written_;
};

}  // namespace tilewise
