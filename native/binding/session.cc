#include "session.h"

#include <cstring>

namespace tilewise {
namespace {

// The bytes under a typed array, DataView-free: what JavaScript may change or detach as soon as the call returns is copied here.
template <class T>
std::vector<T> copy_words(const Napi::Value& array, size_t count) {
  auto typed = array.As<Napi::TypedArray>();
  std::vector<T> copy(count);
  void* data = nullptr;
  size_t length = 0, offset = 0;
  napi_typedarray_type type;
  napi_value buffer;
  // The raw call also takes arrays over shared memory, whose buffer is no ArrayBuffer.
  if (napi_get_typedarray_info(array.Env(), typed, &type, &length, &data, &buffer, &offset) != napi_ok)
    throw Napi::TypeError::New(array.Env(), "expected a typed array");
  if (count) std::memcpy(copy.data(), data, count * sizeof(T));
  return copy;
}

const char* code_name(Code code) {
  switch (code) {
    case Code::invalid_argument:
      return "invalid_argument";
    case Code::unsupported:
      return "unsupported";
    case Code::out_of_memory:
      return "out_of_memory";
    case Code::device_lost:
      return "device_lost";
    default:
      return "device_error";
  }
}

uint32_t id_of(const Napi::Value& value) { return value.As<Napi::Number>().Uint32Value(); }

}  // namespace

Napi::Function SessionHandle::define(Napi::Env env) {
  return DefineClass(env, "Session",
                     {
                         InstanceMethod<&SessionHandle::submit>("submit"),
                         InstanceMethod<&SessionHandle::write>("write"),
                         InstanceMethod<&SessionHandle::read>("read"),
                         InstanceMethod<&SessionHandle::synchronize>("synchronize"),
                         InstanceMethod<&SessionHandle::elapsed>("elapsed"),
                         InstanceMethod<&SessionHandle::capture>("capture"),
                         InstanceMethod<&SessionHandle::replay>("replay"),
                         InstanceMethod<&SessionHandle::release_capture>("releaseCapture"),
                         InstanceMethod<&SessionHandle::trim>("trim"),
                         InstanceMethod<&SessionHandle::reset_peak>("resetPeak"),
                         InstanceMethod<&SessionHandle::hold>("hold"),
                         InstanceMethod<&SessionHandle::close>("close"),
                         InstanceMethod<&SessionHandle::memory>("memory"),
                         InstanceMethod<&SessionHandle::information>("information"),
                         InstanceMethod<&SessionHandle::report>("report"),
                     });
}

// new Session({ kind, threads, memoryLimit, isa, poison, index, tf32, exactAllocations, schedule, counters, sites, suppressed },
// onCompletion)
SessionHandle::SessionHandle(const Napi::CallbackInfo& info) : Napi::ObjectWrap<SessionHandle>(info) {
  Napi::Env env = info.Env();
  auto given = info[0].As<Napi::Object>();
  DeviceOptions options;
  options.kind = given.Get("kind").As<Napi::String>();
  options.threads = given.Get("threads").As<Napi::Number>().Int32Value();
  options.memory_limit = given.Get("memoryLimit").As<Napi::Number>().DoubleValue();
  options.isa = given.Get("isa").As<Napi::String>();
  options.poison = given.Get("poison").As<Napi::Boolean>();
  options.index = given.Get("index").As<Napi::Number>().Int32Value();
  options.tf32 = given.Get("tf32").As<Napi::Boolean>();
  options.exact_allocations = given.Get("exactAllocations").As<Napi::Boolean>();
  options.schedule = given.Get("schedule").As<Napi::String>();
  options.counters = given.Get("counters").As<Napi::Boolean>();
  options.sites = given.Get("sites").As<Napi::Boolean>();
  options.suppressed = given.Get("suppressed").As<Napi::String>();
  if (Status status = open_engine(options, &engine_); !status) throw Napi::Error::New(env, status.message);

  channel_ = Channel::New(env, info[1].As<Napi::Function>(), "tilewise completions", 0, 1);
  channel_.Unref(env);  // an idle device keeps no process alive; hold(true) while something is awaited
  session_ = std::make_shared<Session>([channel = channel_](std::unique_ptr<Completion> completion) mutable {
    if (channel.NonBlockingCall(completion.get()) == napi_ok) completion.release();
  });
  // Runs when the environment is torn down, with work in flight too. The finalizer may run later or never.
  napi_add_env_cleanup_hook(env, on_teardown, this);
}

SessionHandle::~SessionHandle() {
  if (session_) napi_remove_env_cleanup_hook(Env(), on_teardown, this);
  end();
}

void SessionHandle::on_teardown(void* self) { static_cast<SessionHandle*>(self)->end(); }

// close(): ends the session while the process still stands. What is called later does nothing.
void SessionHandle::close(const Napi::CallbackInfo&) { end(); }

void SessionHandle::end() {
  if (!session_) return;
  engine_->close(session_);
  session_.reset();
  channel_.Abort();
  engine_.reset();
}

// submit(words: Int32Array, count)
void SessionHandle::submit(const Napi::CallbackInfo& info) {
  if (engine_) engine_->submit(session_, copy_words<int32_t>(info[0], id_of(info[1])));
}

// write(slot, sourceDType, bytes: Uint8Array)
void SessionHandle::write(const Napi::CallbackInfo& info) {
  if (!engine_) return;
  const auto dtype = static_cast<DType>(info[1].As<Napi::Number>().Int32Value());
  engine_->write(session_, info[0].As<Napi::Number>().Int32Value(), dtype,
                 copy_words<uint8_t>(info[2], info[2].As<Napi::TypedArray>().ByteLength()));
}

// read(slot, raw, id)
void SessionHandle::read(const Napi::CallbackInfo& info) {
  if (engine_) engine_->read(session_, info[0].As<Napi::Number>().Int32Value(), info[1].As<Napi::Boolean>(), id_of(info[2]));
}

void SessionHandle::synchronize(const Napi::CallbackInfo& info) {
  if (engine_) engine_->synchronize(session_, id_of(info[0]));
}

// elapsed(from, to, id)
void SessionHandle::elapsed(const Napi::CallbackInfo& info) {
  if (engine_) engine_->elapsed(session_, info[0].As<Napi::Number>().Int32Value(), info[1].As<Napi::Number>().Int32Value(), id_of(info[2]));
}

// capture(id, words: Int32Array, count)
void SessionHandle::capture(const Napi::CallbackInfo& info) {
  if (engine_) engine_->capture(session_, id_of(info[0]), copy_words<int32_t>(info[1], id_of(info[2])));
}

// replay(id, counterBase)
void SessionHandle::replay(const Napi::CallbackInfo& info) {
  if (engine_) engine_->replay(session_, id_of(info[0]), static_cast<uint64_t>(info[1].As<Napi::Number>().Int64Value()));
}

void SessionHandle::release_capture(const Napi::CallbackInfo& info) {
  if (engine_) engine_->release_capture(session_, id_of(info[0]));
}
void SessionHandle::trim(const Napi::CallbackInfo&) {
  if (engine_) engine_->trim();
}
void SessionHandle::reset_peak(const Napi::CallbackInfo&) {
  if (engine_) engine_->reset_peak();
}

// hold(true): the process stays alive until hold(false)
void SessionHandle::hold(const Napi::CallbackInfo& info) {
  if (!session_) return;
  if (info[0].As<Napi::Boolean>())
    channel_.Ref(info.Env());
  else
    channel_.Unref(info.Env());
}

Engine& SessionHandle::opened(Napi::Env env) const {
  if (!engine_) throw Napi::Error::New(env, "the device is closed: the process is exiting");
  return *engine_;
}

Napi::Value SessionHandle::memory(const Napi::CallbackInfo& info) {
  auto result = Napi::Object::New(info.Env());
  const MemoryStatistics& memory = opened(info.Env()).memory();
  result.Set("live", static_cast<double>(memory.live.load()));
  result.Set("cached", static_cast<double>(memory.cached.load()));
  result.Set("peak", static_cast<double>(memory.peak.load()));
  result.Set("limit", static_cast<double>(engine_->memory_limit()));
  return result;
}

Napi::Value SessionHandle::information(const Napi::CallbackInfo& info) {
  auto result = Napi::Object::New(info.Env());
  const DeviceInfo device = opened(info.Env()).info();
  result.Set("kind", device.kind);
  result.Set("name", device.name);
  result.Set("detail", device.detail);
  result.Set("memoryBytes", static_cast<double>(device.memory_bytes));
  result.Set("threads", device.threads);
  result.Set("nativeBf16", device.native_bf16);
  return result;
}

Napi::Value SessionHandle::report(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), opened(info.Env()).take_report());
}

// callback(id, code | null, message, detail, dtype, bytes: ArrayBuffer)
void SessionHandle::on_completion(Napi::Env env, Napi::Function callback, std::nullptr_t*, Completion* raw) {
  std::unique_ptr<Completion> completion(raw);
  if (env == nullptr) return;  // the environment is ending
  try {
    if (completion->failure) {
      callback.Call({Napi::Number::New(env, completion->id), Napi::String::New(env, code_name(completion->failure->code)),
                     Napi::String::New(env, completion->failure->message), Napi::String::New(env, completion->failure->detail)});
      return;
    }
    // A copy, not an external buffer: those are refused where V8 runs in a memory cage.
    auto buffer = Napi::ArrayBuffer::New(env, completion->bytes.size());
    if (!completion->bytes.empty()) std::memcpy(buffer.Data(), completion->bytes.data(), completion->bytes.size());
    callback.Call({Napi::Number::New(env, completion->id), env.Null(), env.Null(), env.Null(),
                   Napi::Number::New(env, static_cast<int>(completion->dtype)), buffer});
  } catch (const Napi::Error&) {
    // Only a worker that is being terminated refuses these calls; the callback itself does not throw.
  }
}

}  // namespace tilewise
