#include "engine.h"

#include <cstring>

#include "interpreter.h"

namespace tilewise {
namespace {

// Elements as the caller gave them -> elements as the tensor holds them. Same type: the bytes themselves.
template <class To>
std::vector<uint8_t> narrow(const std::vector<uint8_t>& bytes) {
  const size_t count = bytes.size() / sizeof(float);
  std::vector<uint8_t> result(count * sizeof(To));
  const auto* source = reinterpret_cast<const float*>(bytes.data());
  auto* target = reinterpret_cast<To*>(result.data());
  for (size_t i = 0; i < count; ++i) target[i] = To(source[i]);
  return result;
}

template <class From>
std::vector<uint8_t> widen(const std::vector<uint8_t>& bytes) {
  const size_t count = bytes.size() / sizeof(From);
  std::vector<uint8_t> result(count * sizeof(float));
  const auto* source = reinterpret_cast<const From*>(bytes.data());
  auto* target = reinterpret_cast<float*>(result.data());
  for (size_t i = 0; i < count; ++i) target[i] = static_cast<float>(source[i]);
  return result;
}

std::shared_ptr<const Failure> failure_of(const Status& status, const char* where) {
  return std::make_shared<Failure>(Failure{status.code, std::string("[") + where + "] " + status.message, ""});
}

}  // namespace

std::shared_ptr<const Failure> Engine::note(const Status& status, const char* where) {
  if (status) return nullptr;
  auto failure = failure_of(status, where);
  if (status.code == Code::device_lost && !lost_) lost_ = failure;
  return failure;
}

Engine::Engine(std::unique_ptr<Backend> backend, size_t memory_limit, bool poison)
    : backend_(std::move(backend)), allocator_(*backend_, memory_limit, poison), thread_([this] { loop(); }) {}

Engine::~Engine() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void Engine::push(std::function<void()> job) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  wake_.notify_one();
}

void Engine::loop() {
  for (;;) {
    std::function<void()> job;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [this] { return stop_ || !jobs_.empty(); });
      if (jobs_.empty()) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    job();
  }
}

void Engine::submit(std::shared_ptr<Session> session, std::vector<int32_t> words) {
  push([this, session = std::move(session), words = std::move(words)] {
    Interpreter(*this, *session, 0).execute(words.data(), words.size());
  });
}

void Engine::write(std::shared_ptr<Session> session, int32_t index, DType source, std::vector<uint8_t> bytes) {
  push([this, session = std::move(session), index, source, bytes = std::move(bytes)]() mutable {
    if (session->closed()) return;
    Slot* slot = session->slots.find(index);
    if (!slot || slot->no_memory || lost_) return;
    if (source == DType::f32 && slot->view.dtype == DType::bf16) bytes = narrow<bf16>(bytes);
    if (source == DType::f32 && slot->view.dtype == DType::f16) bytes = narrow<f16>(bytes);
    Status status = bytes.size() == static_cast<size_t>(slot->view.count()) * size_of(slot->view.dtype) && slot->view.contiguous()
                        ? backend_->upload(slot->view.data, bytes.data(), bytes.size())
                        : Status::error(Code::invalid_argument, "the data does not fill the tensor");
    auto failure = note(status, "write");
    if (!failure)
      slot->written();
    else if (slot->buffer)
      slot->buffer->failure = failure;
  });
}

void Engine::read(std::shared_ptr<Session> session, int32_t index, bool raw, uint32_t id) {
  push([this, session = std::move(session), index, raw, id] {
    if (session->closed()) return;
    auto completion = std::make_unique<Completion>();
    completion->id = id;
    Slot* slot = session->slots.find(index);
    if (lost_) {
      completion->failure = lost_;
    } else if (!slot) {
      completion->failure = failure_of(Status::error(Code::invalid_argument, "the tensor has been disposed"), "read");
    } else if (slot->failure()) {
      completion->failure = slot->failure();
    } else {
      completion->dtype = slot->view.dtype;
      completion->bytes.resize(static_cast<size_t>(slot->view.count()) * size_of(slot->view.dtype));
      Status status = backend_->download(completion->bytes.data(), slot->view.data, completion->bytes.size());
      completion->failure = note(status, "read");
      if (!raw && completion->dtype == DType::bf16) completion->bytes = widen<bf16>(completion->bytes);
      if (!raw && completion->dtype == DType::f16) completion->bytes = widen<f16>(completion->bytes);
    }
    session->deliver(std::move(completion));
  });
}

void Engine::synchronize(std::shared_ptr<Session> session, uint32_t id) {
  push([this, session = std::move(session), id] {
    if (session->closed()) return;
    auto completion = std::make_unique<Completion>();
    completion->id = id;
    if (lost_) {
      completion->failure = lost_;
    } else {
      completion->failure = note(backend_->synchronize(), "synchronize");
    }
    session->deliver(std::move(completion));
  });
}

void Engine::elapsed(std::shared_ptr<Session> session, int32_t from, int32_t to, uint32_t id) {
  push([this, session = std::move(session), from, to, id] {
    if (session->closed()) return;
    auto completion = std::make_unique<Completion>();
    completion->id = id;
    const auto begin = session->marks.find(from), end = session->marks.find(to);
    if (lost_) {
      completion->failure = lost_;
    } else if (begin == session->marks.end() || end == session->marks.end()) {
      completion->failure = failure_of(Status::error(Code::invalid_argument, "the mark has been disposed"), "mark");
    } else if (begin->second.failure || end->second.failure) {
      completion->failure = begin->second.failure ? begin->second.failure : end->second.failure;
    } else {
      double milliseconds = 0;
      completion->failure = note(backend_->elapsed(*begin->second.mark, *end->second.mark, &milliseconds), "mark");
      completion->bytes.resize(sizeof milliseconds);
      std::memcpy(completion->bytes.data(), &milliseconds, sizeof milliseconds);
    }
    session->deliver(std::move(completion));
  });
}

void Engine::capture(std::shared_ptr<Session> session, uint32_t capture, std::vector<int32_t> words) {
  push([session = std::move(session), capture, words = std::move(words)]() mutable {
    session->captures[capture] = std::make_unique<Capture>(std::move(words));
  });
}

void Engine::replay(std::shared_ptr<Session> session, uint32_t capture, uint64_t counter_base) {
  push([this, session = std::move(session), capture, counter_base] {
    if (session->closed()) return;
    auto found = session->captures.find(capture);
    if (found == session->captures.end()) return;
    found->second->replay(*this, *session, counter_base);
  });
}

void Engine::release_capture(std::shared_ptr<Session> session, uint32_t capture) {
  push([session = std::move(session), capture] { session->captures.erase(capture); });
}

void Engine::trim() {
  push([this] { allocator_.trim(); });
}

void Engine::reset_peak() {
  push([this] { allocator_.reset_peak(); });
}

void Engine::close(std::shared_ptr<Session> session) {
  session->close();
  push([session = std::move(session)] {
    session->slots.clear();
    session->captures.clear();
    session->marks.clear();
  });
}

}  // namespace tilewise
