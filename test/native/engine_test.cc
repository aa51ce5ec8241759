// The engine on a backend of plain memory: order, reuse, poison, exhaustion, recovery, loss, capture, marks, and sessions that end with
// work queued. Built and run under sanitizers by scripts/test-native.sh.
#include "engine/engine.h"

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <map>

using namespace tilewise;

namespace {

int failures = 0, checks = 0;

void check(bool condition, const char* what, int line) {
  ++checks;
  if (condition) return;
  ++failures;
  std::fprintf(stderr, "engine_test:%d: %s\n", line, what);
}
#define CHECK(condition) check(condition, #condition, __LINE__)

// Ops it knows: fill; affine (y = scale * x + shift, failing for scale NaN, lost for scale inf); accumulate; clip_by_norm (a product).
class PlainBackend final : public Backend {
 public:
  explicit PlainBackend(size_t memory) : memory_(memory) {}
  ~PlainBackend() override { CHECK(held_ == 0); }
  DeviceInfo info() const override {
    DeviceInfo info;
    info.kind = "plain";
    info.memory_bytes = memory_;
    return info;
  }
  Status allocate(size_t bytes, void** memory) override {
    ++allocations;
    held_ += bytes;
    *memory = std::malloc(bytes);
    return Status::ok();
  }
  void release(void* memory, size_t bytes) override {
    held_ -= bytes;
    std::free(memory);
  }
  void poison(void* memory, size_t bytes) override { std::memset(memory, 0xff, bytes); }
  Status upload(void* destination, const void* source, size_t bytes) override {
    std::memcpy(destination, source, bytes);
    return Status::ok();
  }
  Status download(void* destination, const void* source, size_t bytes) override {
    std::memcpy(destination, source, bytes);
    return Status::ok();
  }
  Status synchronize() override { return lost_at_synchronize ? Status::error(Code::device_lost, "asked to be lost") : Status::ok(); }

  Status mark(std::unique_ptr<Mark>* mark) override {
    return fails_to_mark ? Status::error(Code::device_error, "asked to fail") : Backend::mark(mark);
  }

  // Records ops as a device does: with the addresses they had, and scratch memory of its own.
  struct Recorded final : Recording {
    std::vector<std::function<Status()>> work;
  };
  bool records() const override { return can_record; }
  Status begin_recording() override {
    recorded_ = std::make_unique<Recorded>();
    return Status::ok();
  }
  Status end_recording(std::unique_ptr<Recording>* recording) override {
    *recording = std::move(recorded_);
    ++recordings;
    return Status::ok();
  }
  Status launch(Recording& recording) override {
    ++launches;
    for (auto& step : static_cast<Recorded&>(recording).work) TILEWISE_RETURN_IF_ERROR(step());
    return Status::ok();
  }

  Status run(Op op, const void* args, Context& context) override {
    if (!recorded_) {
      ++ops;
      return execute(op, args, context);
    }
    void* scratch = nullptr;
    TILEWISE_RETURN_IF_ERROR(context.scratch(64, &scratch));
    if (op == Op::affine && std::isnan(static_cast<const affine_args*>(args)->scale))
      return Status::error(Code::device_error, "asked to fail");
    std::vector<char> copy(static_cast<const char*>(args), static_cast<const char*>(args) + kOps[static_cast<int>(op)].args_size);
    struct Given final : Context {
      PlainBackend& self;
      void* given;
      Given(PlainBackend& self, void* given) : self(self), given(given) {}
      Status scratch(size_t, void** memory) override {
        *memory = given;
        return Status::ok();
      }
      Backend& backend() override { return self; }
    };
    recorded_->work.push_back([this, op, copy, scratch] {
      Given context(*this, scratch);
      return execute(op, copy.data(), context);
    });
    return Status::ok();
  }
  Status execute(Op op, const void* args, Context& context) {
    void* scratch = nullptr;
    TILEWISE_RETURN_IF_ERROR(context.scratch(64, &scratch));
    std::memset(scratch, 0x7f, 64);
    if (op == Op::fill) {
      auto& a = *static_cast<const fill_args*>(args);
      for (int64_t i = 0; i < a.y.count(); ++i) a.y.as<float>()[i] = a.value;
    } else if (op == Op::affine) {
      auto& a = *static_cast<const affine_args*>(args);
      if (std::isnan(a.scale)) return Status::error(Code::device_error, "asked to fail");
      if (std::isinf(a.scale)) return Status::error(Code::device_lost, "asked to be lost");
      for (int64_t i = 0; i < a.y.count(); ++i) a.y.as<float>()[i] = a.scale * a.x.as<float>()[i] + a.shift;
    } else if (op == Op::accumulate) {
      auto& a = *static_cast<const accumulate_args*>(args);
      for (int64_t i = 0; i < a.y.count(); ++i) a.y.as<float>()[i] += a.x.as<float>()[i];
    } else if (op == Op::clip_by_norm) {
      auto& a = *static_cast<const clip_by_norm_args*>(args);
      for (const View& x : a.xs)
        for (int64_t i = 0; i < x.count(); ++i) x.as<float>()[i] *= a.max_norm;
    } else if (op == Op::dropout) {
      auto& a = *static_cast<const dropout_args*>(args);
      for (int64_t i = 0; i < a.y.count(); ++i) a.y.as<float>()[i] = a.p == 0 ? a.x.as<float>()[i] : static_cast<float>(a.counter);
    } else {
      return Status::error(Code::unsupported, "not in this test");
    }
    return Status::ok();
  }

  int allocations = 0, ops = 0, recordings = 0, launches = 0;
  bool can_record = false, lost_at_synchronize = false, fails_to_mark = false;

 private:
  size_t memory_, held_ = 0;
  std::unique_ptr<Recorded> recorded_;
};

// Writes what lib/commands.ts writes.
struct Words {
  std::vector<int32_t> words;
  static int32_t bits(float value) {
    int32_t word;
    std::memcpy(&word, &value, 4);
    return word;
  }
  static int32_t id(Op op) { return kFirstOp + static_cast<int32_t>(op); }
  Words& add(std::initializer_list<int32_t> more) {
    words.insert(words.end(), more);
    return *this;
  }
  Words& allocate(int slot, int count, Op op = Op::fill) { return add({kAllocate, slot, 1 << 8 | id(op) << 16, count}); }
  Words& fill(int slot, float value) { return add({id(Op::fill), slot, bits(value)}); }
  Words& affine(int x, int y, float scale, float shift) { return add({id(Op::affine), x, y, bits(scale), bits(shift)}); }
  Words& dropout(int x, int y, float p, int counter) { return add({id(Op::dropout), x, y, bits(p), 1, 0, counter, 0}); }
  Words& accumulate(int x, int y) { return add({id(Op::accumulate), x, y}); }
  Words& view(int slot, int base, int offset, int count) { return add({kView, slot, base, 1, offset, 0, count, 1, 0}); }
  // clip_by_norm stands for all updates of lists
  Words& scale(std::initializer_list<int32_t> slots, int norm) {
    add({id(Op::clip_by_norm), static_cast<int32_t>(slots.size())}).add(slots);
    return add({norm, bits(2.0f)});
  }
  Words& restore(int slot) { return add({kRestore, slot}); }
  Words& free(int slot) { return add({kFree, slot}); }
  Words& mark(int number) { return add({kMark, number}); }
  Words& unmark(int number) { return add({kUnmark, number}); }
};

// A session whose completions can be waited for.
struct Client {
  Engine& engine;
  std::mutex mutex;
  std::map<uint32_t, std::promise<std::unique_ptr<Completion>>> waiting;
  uint32_t next = 1;
  std::shared_ptr<Session> session;

  explicit Client(Engine& engine) : engine(engine) {
    session = std::make_shared<Session>([this](std::unique_ptr<Completion> completion) {
      std::lock_guard<std::mutex> lock(mutex);
      waiting[completion->id].set_value(std::move(completion));
    });
  }
  ~Client() { engine.close(session); }
  template <class Start>
  std::unique_ptr<Completion> wait(Start start) {
    uint32_t id = next++;
    std::future<std::unique_ptr<Completion>> future;
    {
      std::lock_guard<std::mutex> lock(mutex);
      future = waiting[id].get_future();
    }
    start(id);
    return future.get();
  }
  void submit(Words& words) {
    engine.submit(session, std::move(words.words));
    words.words.clear();
  }
  std::unique_ptr<Completion> read(int slot) {
    return wait([&](uint32_t id) { engine.read(session, slot, false, id); });
  }
  float first(int slot) {
    auto completion = read(slot);
    if (completion->failure || completion->bytes.size() < 4) return NAN;
    float value;
    std::memcpy(&value, completion->bytes.data(), 4);
    return value;
  }
  std::unique_ptr<Completion> elapsed(int from, int to) {
    return wait([&](uint32_t id) { engine.elapsed(session, from, to, id); });
  }
  // Milliseconds, negative where there is an error.
  double milliseconds(int from, int to) {
    auto completion = elapsed(from, to);
    double value = -1;
    if (!completion->failure && completion->bytes.size() == sizeof value) std::memcpy(&value, completion->bytes.data(), sizeof value);
    return value;
  }
  std::unique_ptr<Completion> synchronize() {
    return wait([&](uint32_t id) { engine.synchronize(session, id); });
  }
  void capture(uint32_t id, Words& words) {
    engine.capture(session, id, std::move(words.words));
    words.words.clear();
  }
  void replay(uint32_t id, int times = 1) {
    for (int i = 0; i < times; ++i) engine.replay(session, id, 0);
  }
};

void order_and_reuse() {
  auto owned = std::make_unique<PlainBackend>(1 << 20);
  PlainBackend& backend = *owned;
  Engine engine(std::move(owned), 0, false);
  {
    Client client(engine);
    Words words;
    for (int step = 0; step < 100; ++step) {
      words.allocate(0, 1000).fill(0, 1.0f).allocate(1, 1000).affine(0, 1, 2.0f, 3.0f).free(0).free(1);
      client.submit(words);
    }
    client.synchronize();
    CHECK(engine.memory().live == 0);
    CHECK(backend.allocations <= 3);  // two tensors and a scratch block, however many steps
    words.allocate(0, 10).fill(0, 1.0f).view(1, 0, 4, 2).fill(1, 7.0f);
    client.submit(words);
    auto whole = client.read(0);
    float values[10];
    CHECK(whole->bytes.size() == sizeof values);
    std::memcpy(values, whole->bytes.data(), sizeof values);
    CHECK(values[3] == 1.0f && values[4] == 7.0f && values[5] == 7.0f && values[6] == 1.0f);
    words.free(0);  // a view keeps its buffer
    client.submit(words);
    CHECK(client.first(1) == 7.0f);
  }
  Client other(engine);
  other.synchronize();
  CHECK(engine.memory().live == 0);  // a closed session gives its tensors back
}

void poison_and_exhaustion() {
  Engine engine(std::make_unique<PlainBackend>(64 << 10), 0, true);
  Client client(engine);
  Words words;
  words.allocate(0, 100);
  client.submit(words);
  CHECK(std::isnan(client.first(0)));
  words.fill(0, 1.0f)
      .allocate(1, 100)
      .affine(0, 1, NAN, 0.0f)
      .allocate(2, 100)
      .affine(1, 2, 1.0f, 0.0f)
      .allocate(3, 100)
      .affine(0, 3, 1.0f, 1.0f);
  client.submit(words);
  auto failed = client.read(2);
  CHECK(failed->failure && failed->failure->message == "[affine] asked to fail");
  CHECK(failed->failure && failed->failure->detail.find("x f32[100]") != std::string::npos);
  CHECK(client.first(3) == 2.0f);  // what does not depend on it goes on
  words.accumulate(1, 3);
  client.submit(words);
  CHECK(client.read(3)->failure != nullptr);  // updated in place by something poisoned
  words.restore(3);
  client.submit(words);
  CHECK(client.read(3)->failure != nullptr);  // a sum that lacks a part is no old value either
  words.fill(1, 5.0f);
  client.submit(words);
  CHECK(client.first(1) == 5.0f);  // written whole, whatever it held
  words.free(1).allocate(1, 100).affine(0, 1, NAN, 0.0f).free(1).allocate(1, 100).fill(1, 6.0f);
  client.submit(words);
  CHECK(client.first(1) == 6.0f);
  words.allocate(4, 1 << 20, Op::affine).affine(0, 4, 1.0f, 0.0f);
  client.submit(words);
  auto exhausted = client.read(4);
  CHECK(exhausted->failure && exhausted->failure->code == Code::out_of_memory);
  CHECK(exhausted->failure && exhausted->failure->message.find("[affine] out of memory: a f32 tensor [1048576]") == 0);
  CHECK(client.first(0) == 1.0f);
  CHECK(client.read(99)->failure != nullptr);
}

// Views share what has happened to their buffer.
void parts() {
  Engine engine(std::make_unique<PlainBackend>(64 << 10), 0, false);
  Client client(engine);
  Words words;
  words.allocate(0, 4).fill(0, 1.0f).allocate(1, 4).affine(0, 1, NAN, 0.0f);
  words.view(2, 0, 1, 2).affine(1, 2, 1.0f, 0.0f).free(2);
  client.submit(words);
  CHECK(client.read(0)->failure != nullptr);  // a part was not written
  words.view(2, 0, 1, 2).fill(2, 7.0f);
  client.submit(words);
  CHECK(client.read(0)->failure != nullptr);  // and who knows which
  CHECK(client.read(2)->failure != nullptr);
  words.fill(0, 8.0f);
  client.submit(words);
  CHECK(client.first(0) == 8.0f);
  CHECK(client.first(2) == 8.0f);
}

void restore() {
  Engine engine(std::make_unique<PlainBackend>(64 << 10), 0, false);
  Client client(engine);
  Words words;
  // 0 and 1: updated together, by a factor that could not be computed. 2: the factor.
  words.allocate(0, 4).fill(0, 3.0f).allocate(1, 4).fill(1, 4.0f).allocate(2, 1).affine(0, 2, NAN, 0.0f).scale({0, 1}, 2);
  client.submit(words);
  CHECK(client.read(0)->failure && client.read(0)->failure->message == "[affine] asked to fail");
  CHECK(client.read(1)->failure != nullptr);
  words.restore(0).restore(1).restore(2);
  client.submit(words);
  CHECK(client.first(0) == 3.0f && client.first(1) == 4.0f);  // nothing has touched them
  CHECK(client.read(2)->failure != nullptr);                  // this one was never computed
  // What is incomplete stays so, also when an update is kept away from it.
  words.accumulate(2, 0).scale({0, 1}, 2).restore(0).restore(1);
  client.submit(words);
  CHECK(client.read(0)->failure != nullptr);
  CHECK(client.first(1) == 4.0f);
  // Memory that could not be had.
  words.allocate(3, 12000).allocate(4, 12000).fill(4, 5.0f);
  client.submit(words);
  CHECK(client.read(4)->failure && client.read(4)->failure->code == Code::out_of_memory);
  words.restore(4).fill(4, 5.0f);
  client.submit(words);
  CHECK(client.read(4)->failure != nullptr);  // there still is none
  words.free(3).restore(4);
  client.submit(words);
  CHECK(client.read(4)->failure != nullptr);  // its elements are not set
  words.fill(4, 5.0f);
  client.submit(words);
  CHECK(client.first(4) == 5.0f);
  words.restore(99).restore(4);
  client.submit(words);
  CHECK(client.first(4) == 5.0f);
}

void loss() {
  Engine engine(std::make_unique<PlainBackend>(1 << 20), 0, false);
  Client client(engine);
  Words words;
  words.allocate(0, 4).fill(0, 1.0f).allocate(1, 4).affine(0, 1, INFINITY, 0.0f);
  client.submit(words);
  auto lost = client.read(0);  // a tensor that was fine: the device that held it is gone
  CHECK(lost->failure && lost->failure->code == Code::device_lost);
  words.allocate(2, 4).fill(2, 1.0f);
  client.submit(words);
  auto later = client.read(2);
  CHECK(later->failure && later->failure->code == Code::device_lost);
}

void capture() {
  Engine engine(std::make_unique<PlainBackend>(1 << 20), 0, false);
  Client client(engine);
  Words words;
  words.allocate(0, 4).fill(0, 1.0f);
  client.submit(words);
  words.allocate(1, 4).affine(0, 1, 2.0f, 1.0f).allocate(2, 4).affine(1, 2, 1.0f, 0.0f).accumulate(2, 0).free(1);
  engine.capture(client.session, 9, words.words);
  words.words.clear();
  for (int i = 0; i < 3; ++i) engine.replay(client.session, 9, 0);
  CHECK(client.first(2) == 27.0f);  // 1 -> 4 -> 13 -> 40; the last step wrote 2 * 13 + 1
  CHECK(client.first(0) == 40.0f);
  engine.release_capture(client.session, 9);
  engine.replay(client.session, 9, 0);  // forgotten: nothing happens
  CHECK(client.first(0) == 40.0f);
}

// A device that records: from the second replay on a replay is one launch, and nobody can tell but by counting.
void recording() {
  auto owned = std::make_unique<PlainBackend>(1 << 20);
  PlainBackend& backend = *owned;
  backend.can_record = true;
  Engine engine(std::move(owned), 0, false);
  Client client(engine);
  Words words;
  words.allocate(0, 4).fill(0, 1.0f);
  client.submit(words);
  words.allocate(1, 4).affine(0, 1, 2.0f, 1.0f).allocate(2, 4).affine(1, 2, 1.0f, 0.0f).accumulate(2, 0).free(1);
  client.capture(9, words);
  client.replay(9);
  CHECK(client.first(0) == 4.0f);
  const int decoded = backend.ops;
  const int64_t live = engine.memory().live;
  client.replay(9, 5);
  CHECK(client.first(0) == 1093.0f && client.first(2) == 729.0f);  // 4 -> 13 -> 40 -> 121 -> 364 -> 1093
  CHECK(backend.recordings == 1 && backend.launches == 5 && backend.ops == decoded);
  CHECK(engine.memory().live == live);

  // What it writes in between is nobody else's: neither a new tensor's nor given back.
  words.allocate(3, 4).fill(3, 5.0f).allocate(4, 4).fill(4, 6.0f);
  client.submit(words);
  engine.trim();
  client.replay(9);
  CHECK(client.first(3) == 5.0f && client.first(4) == 6.0f && client.first(0) == 3280.0f);

  // An input that has moved, or a result that was freed: the list is decoded, and recorded anew.
  words.free(0).allocate(5, 100).allocate(0, 4).fill(0, 1.0f);
  words.free(2);
  client.submit(words);
  client.replay(9, 3);
  CHECK(client.first(0) == 40.0f && client.first(2) == 27.0f);
  CHECK(backend.recordings == 2);

  // A poisoned input poisons what depends on it, recorded or not.
  words.free(5).allocate(5, 4).affine(3, 5, NAN, 0.0f);
  client.submit(words);
  words.allocate(6, 4).affine(5, 6, 1.0f, 0.0f);
  client.capture(10, words);
  client.replay(10, 3);
  CHECK(client.read(6)->failure != nullptr);
  CHECK(client.first(3) == 5.0f);
  words.free(5).allocate(5, 4).fill(5, 8.0f);
  client.submit(words);
  client.replay(10, 4);
  CHECK(client.first(6) == 8.0f);

  // Random draws move on with each replay, so they are decoded; with probability 0 there is none.
  words.allocate(7, 4).dropout(3, 7, 0.5f, 3);
  client.capture(11, words);
  for (int i = 0; i < 4; ++i) engine.replay(client.session, 11, 100 * i);
  CHECK(client.first(7) == 303.0f);
  const int recordings = backend.recordings;
  words.allocate(8, 4).dropout(3, 8, 0.0f, 3);
  client.capture(12, words);
  client.replay(12, 3);
  CHECK(client.first(8) == 5.0f && backend.recordings == recordings + 1);

  // Nothing of a recording is left when all are forgotten.
  for (uint32_t id : {9, 10, 11, 12}) engine.release_capture(client.session, id);
  for (int slot = 0; slot < 9; ++slot) words.free(slot);
  client.submit(words);
  engine.trim();
  client.synchronize();
  CHECK(engine.memory().live == 0 && engine.memory().cached == 0);
}

void marks() {
  auto owned = std::make_unique<PlainBackend>(1 << 20);
  PlainBackend& backend = *owned;
  Engine engine(std::move(owned), 0, false);
  Client client(engine);
  Words words;
  words.mark(1).allocate(0, 1000).fill(0, 1.0f).mark(2).fill(0, 2.0f).mark(-3);
  client.submit(words);
  const double first = client.milliseconds(1, 2), second = client.milliseconds(2, -3), both = client.milliseconds(1, -3);
  CHECK(first > 0 && second > 0 && std::abs(first + second - both) < 1e-9);
  CHECK(client.first(0) == 2.0f);
  words.unmark(2).unmark(7).mark(1);  // gone; never there; set anew
  client.submit(words);
  auto gone = client.elapsed(1, 2);
  CHECK(gone->failure && gone->failure->code == Code::invalid_argument);
  CHECK(client.milliseconds(1, -3) < 0 && client.elapsed(1, -3)->failure == nullptr);  // later than the other now
  Client other(engine);
  CHECK(other.elapsed(1, -3)->failure != nullptr);  // a session's own
  backend.fails_to_mark = true;
  words.mark(4).fill(0, 3.0f);
  client.submit(words);
  auto failed = client.elapsed(1, 4);
  CHECK(failed->failure && failed->failure->message == "[mark] asked to fail");
  CHECK(client.first(0) == 3.0f);
}

void loss_outside_of_ops() {
  auto owned = std::make_unique<PlainBackend>(1 << 20);
  owned->lost_at_synchronize = true;
  Engine engine(std::move(owned), 0, false);
  Client client(engine);
  Words words;
  words.allocate(0, 4).fill(0, 1.0f);
  client.submit(words);
  CHECK(client.first(0) == 1.0f);
  CHECK(client.synchronize()->failure != nullptr);
  auto later = client.read(0);
  CHECK(later->failure && later->failure->code == Code::device_lost);
}

void sessions_that_end() {
  for (int round = 0; round < 20; ++round) {
    Engine engine(std::make_unique<PlainBackend>(1 << 24), 0, false);
    Client stays(engine);
    {
      Client leaves(engine);
      Words words;
      words.allocate(0, 1000).fill(0, 1.0f);
      leaves.submit(words);
      for (int i = 0; i < 200; ++i) {
        words.allocate(1, 1000).affine(0, 1, 2.0f, 0.0f).free(1);
        leaves.submit(words);
      }
    }
    stays.synchronize();
    CHECK(engine.memory().live == 0);
  }
}

void size_classes() {
  for (size_t bytes = 1; bytes < (1 << 16); bytes += 37) {
    const size_t rounded = Allocator::size_class(bytes);
    CHECK(rounded >= bytes && (bytes <= 512 || rounded - bytes <= bytes / 8 + 1));
    CHECK(Allocator::size_class(rounded) == rounded);
  }
}

}  // namespace

int main() {
  order_and_reuse();
  poison_and_exhaustion();
  parts();
  restore();
  loss();
  capture();
  recording();
  marks();
  loss_outside_of_ops();
  sessions_that_end();
  size_classes();
  std::printf("engine_test: %d checks, %d failed\n", checks, failures);
  return failures != 0;
}
