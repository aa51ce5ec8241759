#pragma once
#include <napi.h>

namespace tilewise {

/// Adds `parseSafetensorsHeader(bytes: Uint8Array, fileSize: number)` to the addon's exports. It returns
/// `{ dataOffset, metadata: [key, value][], tensors: { name, dtype, shape, begin, end }[] }`: metadata as pairs, since a
/// file may name a key `__proto__`; `begin` and `end` in bytes from `dataOffset`. It throws an Error whose `code` is the
/// name of a safetensors::Code, with `tensor` where one is at fault.
void register_safetensors(Napi::Env env, Napi::Object exports);

}  // namespace tilewise
