// The table of this instruction set's ops: the one symbol that stays visible (see CMakeLists.txt).
#include "cpu.h"

namespace tilewise::cpu::TILEWISE_ISA {
namespace {

template <class Args, Status (*function)(Context&, const Args&)>
Status untyped(Context& context, const void* args) {
  return function(context, *static_cast<const Args*>(args));
}

constexpr OpFunction kTable[] = {
#define OP(name, fields) untyped<name##_args, name>,
#include "../core/ops.def"
#undef OP
};

}  // namespace
}  // namespace tilewise::cpu::TILEWISE_ISA

#define TILEWISE_TABLE_NAME2(isa) tilewise_cpu_table_##isa
#define TILEWISE_TABLE_NAME(isa) TILEWISE_TABLE_NAME2(isa)
extern "C" const tilewise::OpFunction* TILEWISE_TABLE_NAME(TILEWISE_ISA)() { return tilewise::cpu::TILEWISE_ISA::kTable; }
