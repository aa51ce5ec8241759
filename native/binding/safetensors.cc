#include "binding/safetensors.h"

#include "core/safetensors.h"

namespace tilewise {
namespace {

constexpr double kMaxSafeInteger = 9007199254740991.0;

Napi::Value to_js(Napi::Env env, const safetensors::Tensor& tensor) {
  Napi::Array shape = Napi::Array::New(env, tensor.shape.size());
  for (uint32_t i = 0; i < tensor.shape.size(); ++i) shape[i] = Napi::Number::New(env, static_cast<double>(tensor.shape[i]));
  Napi::Object object = Napi::Object::New(env);
  object["name"] = Napi::String::New(env, tensor.name);
  object["dtype"] = Napi::String::New(env, tensor.dtype);
  object["shape"] = shape;
  object["begin"] = Napi::Number::New(env, static_cast<double>(tensor.begin));
  object["end"] = Napi::Number::New(env, static_cast<double>(tensor.end));
  return object;
}

Napi::Value parse_safetensors_header(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (info.Length() < 1 || !info[0].IsTypedArray() || info[0].As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array)
    throw Napi::TypeError::New(env, "[parseSafetensorsHeader] bytes must be a Uint8Array");
  const double file_size = info.Length() > 1 && info[1].IsNumber() ? info[1].As<Napi::Number>().DoubleValue() : -1;
  if (!(file_size >= 0 && file_size <= kMaxSafeInteger) || file_size != static_cast<double>(static_cast<uint64_t>(file_size)))
    throw Napi::TypeError::New(env, "[parseSafetensorsHeader] fileSize must be a non-negative safe integer");

  const auto bytes = info[0].As<Napi::Uint8Array>();
  safetensors::Header header;
  const safetensors::Result result = safetensors::parse_header(bytes.Data(), bytes.ByteLength(), static_cast<uint64_t>(file_size), &header);
  if (!result.ok()) {
    Napi::Error error = Napi::Error::New(env, result.message);
    error.Set("code", Napi::String::New(env, safetensors::code_name(result.code)));
    if (!result.tensor.empty()) error.Set("tensor", Napi::String::New(env, result.tensor));
    throw error;
  }

  Napi::Array tensors = Napi::Array::New(env, header.tensors.size());
  for (uint32_t i = 0; i < header.tensors.size(); ++i) {
    const Napi::HandleScope scope(env);  // A header may hold millions: their handles must not pile up.
    tensors[i] = to_js(env, header.tensors[i]);
  }
  Napi::Array metadata = Napi::Array::New(env, header.metadata.size());
  for (uint32_t i = 0; i < header.metadata.size(); ++i) {
    const Napi::HandleScope scope(env);
    Napi::Array pair = Napi::Array::New(env, 2);
    pair[0u] = Napi::String::New(env, header.metadata[i].first);
    pair[1u] = Napi::String::New(env, header.metadata[i].second);
    metadata[i] = pair;
  }
  Napi::Object parsed = Napi::Object::New(env);
  parsed["dataOffset"] = Napi::Number::New(env, static_cast<double>(header.data_offset));
  parsed["metadata"] = metadata;
  parsed["tensors"] = tensors;
  return parsed;
}

}  // namespace

void register_safetensors(Napi::Env env, Napi::Object exports) {
  exports["parseSafetensorsHeader"] = Napi::Function::New(env, parse_safetensors_header, "parseSafetensorsHeader");
}

}  // namespace tilewise
