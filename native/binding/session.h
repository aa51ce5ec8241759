// The JavaScript handle of a session: submit, write, read, capture, memory. Knows nothing of single ops.
#pragma once
#include <napi.h>

#include <memory>

#include "devices.h"

namespace tilewise {

class SessionHandle : public Napi::ObjectWrap<SessionHandle> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit SessionHandle(const Napi::CallbackInfo& info);
  ~SessionHandle() override;

 private:
  static void on_teardown(void* self);
  static void on_completion(Napi::Env env, Napi::Function callback, std::nullptr_t*, Completion* completion);
  using Channel = Napi::TypedThreadSafeFunction<std::nullptr_t, Completion, on_completion>;

  void submit(const Napi::CallbackInfo& info);
  void write(const Napi::CallbackInfo& info);
  void read(const Napi::CallbackInfo& info);
  void synchronize(const Napi::CallbackInfo& info);
  void elapsed(const Napi::CallbackInfo& info);
  void capture(const Napi::CallbackInfo& info);
  void replay(const Napi::CallbackInfo& info);
  void release_capture(const Napi::CallbackInfo& info);
  void trim(const Napi::CallbackInfo& info);
  void reset_peak(const Napi::CallbackInfo& info);
  void hold(const Napi::CallbackInfo& info);
  Napi::Value memory(const Napi::CallbackInfo& info);
  Napi::Value information(const Napi::CallbackInfo& info);
  Napi::Value report(const Napi::CallbackInfo& info);
  void close(const Napi::CallbackInfo& info);
  void end();
  Engine& opened(Napi::Env env) const;

  std::shared_ptr<Engine> engine_;
  std::shared_ptr<Session> session_;
  Channel channel_;
};

}  // namespace tilewise
