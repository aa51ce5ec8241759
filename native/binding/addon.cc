// The addon's exports: the Session class, the table of ops as data, from which lib/native.generated.ts is made, and what GPUs there are.
#include <napi.h>

#include "safetensors.h"
#include "session.h"

namespace tilewise {
namespace {

const char* kind_name(FieldKind kind) {
  constexpr const char* names[] = {"in", "in?", "out", "out?", "acc", "acc?", "in[]", "acc[]", "i32", "f32", "u64", "counter"};
  return names[static_cast<int>(kind)];
}

Napi::Value schema(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto ops = Napi::Array::New(env);
  uint32_t index = 0;
  for (const OpInfo& op : kOps) {
    auto fields = Napi::Array::New(env);
    for (int i = 0; i < op.field_count; ++i) {
      auto field = Napi::Object::New(env);
      field.Set("name", op.fields[i].name);
      field.Set("kind", kind_name(op.fields[i].kind));
      fields.Set(i, field);
    }
    auto entry = Napi::Object::New(env);
    entry.Set("name", op.name);
    entry.Set("id", kFirstOp + index);
    entry.Set("fields", fields);
    ops.Set(index++, entry);
  }
  return ops;
}

// { built, kernels, driver, runtime, refusal, gpus: [{ index, name, capability, memoryBytes, refusal }] }
Napi::Value gpus(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const GpuReport found = report_gpus();
  auto list = Napi::Array::New(env);
  for (const GpuReport::Gpu& gpu : found.gpus) {
    auto entry = Napi::Object::New(env);
    entry.Set("index", gpu.index);
    entry.Set("name", gpu.name);
    entry.Set("capability", gpu.capability);
    entry.Set("memoryBytes", gpu.memory_bytes);
    entry.Set("refusal", gpu.refusal);
    list.Set(list.Length(), entry);
  }
  auto report = Napi::Object::New(env);
  report.Set("built", found.built);
  report.Set("kernels", found.kernels);
  report.Set("driver", found.driver);
  report.Set("runtime", found.runtime);
  report.Set("refusal", found.refusal);
  report.Set("gpus", list);
  return report;
}

}  // namespace

class Addon : public Napi::Addon<Addon> {
 public:
  Addon(Napi::Env env, Napi::Object exports) {
    exports.Set("Session", SessionHandle::define(env));
    exports.Set("schema", Napi::Function::New(env, schema, "schema"));
    exports.Set("gpus", Napi::Function::New(env, gpus, "gpus"));
    register_safetensors(env, exports);
  }
};

NODE_API_ADDON(Addon)

}  // namespace tilewise
