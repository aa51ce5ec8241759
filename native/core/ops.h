// What the preprocessor makes of ops.def: argument structs, op ids, field tables. Backends and the engine include this, never ops.def's
// macros.
#pragma once
#include <cstddef>
#include <cstdint>

#include "view.h"

namespace tilewise {

enum class FieldKind : uint8_t { in, in_opt, out, out_opt, acc, acc_opt, in_list, acc_list, i32, f32, u64, counter };

struct Field {
  FieldKind kind;
  const char* name;
  size_t offset;  // in the op's argument struct
};

// --- <op>_args: one struct an op, a member a field
#define IN(name) View name;
#define IN_OPT(name) View name;
#define OUT(name) View name;
#define OUT_OPT(name) View name;
#define ACC(name) View name;
#define ACC_OPT(name) View name;
#define IN_LIST(name) ViewList name;
#define ACC_LIST(name) ViewList name;
#define I32(name) int32_t name;
#define F32(name) float name;
#define U64(name) uint64_t name;
#define COUNTER(name) uint64_t name;
#define OP(name, list) \
  struct name##_args { \
    list               \
  };
#include "ops.def"
#include "ops_undef.h"

// --- Op: ids in the table's order
#define OP(name, list) name,
enum class Op : uint16_t {
#include "ops.def"
  count
};
#undef OP

// --- OpFields<Op::x>::fields: how to decode a command into <op>_args
template <Op op>
struct OpFields;
#define IN(name) {FieldKind::in, #name, offsetof(Args, name)},
#define IN_OPT(name) {FieldKind::in_opt, #name, offsetof(Args, name)},
#define OUT(name) {FieldKind::out, #name, offsetof(Args, name)},
#define OUT_OPT(name) {FieldKind::out_opt, #name, offsetof(Args, name)},
#define ACC(name) {FieldKind::acc, #name, offsetof(Args, name)},
#define ACC_OPT(name) {FieldKind::acc_opt, #name, offsetof(Args, name)},
#define IN_LIST(name) {FieldKind::in_list, #name, offsetof(Args, name)},
#define ACC_LIST(name) {FieldKind::acc_list, #name, offsetof(Args, name)},
#define I32(name) {FieldKind::i32, #name, offsetof(Args, name)},
#define F32(name) {FieldKind::f32, #name, offsetof(Args, name)},
#define U64(name) {FieldKind::u64, #name, offsetof(Args, name)},
#define COUNTER(name) {FieldKind::counter, #name, offsetof(Args, name)},
#define OP(name, list)                        \
  template <>                                 \
  struct OpFields<Op::name> {                 \
    using Args = name##_args;                 \
    static constexpr Field fields[] = {list}; \
  };
#include "ops.def"
#include "ops_undef.h"

struct OpInfo {
  const char* name;
  const Field* fields;
  int field_count;
  size_t args_size;
};

#define OP(name, list) {#name, OpFields<Op::name>::fields, sizeof(OpFields<Op::name>::fields) / sizeof(Field), sizeof(name##_args)},
inline constexpr OpInfo kOps[] = {
#include "ops.def"
};
#undef OP

constexpr size_t kMaxArgsSize = [] {
  size_t most = 0;
  for (const OpInfo& op : kOps) most = op.args_size > most ? op.args_size : most;
  return most;
}();

}  // namespace tilewise
