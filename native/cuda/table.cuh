// The table of this device's ops. One that is missing is a linker error that names it.
#include "cuda.h"

namespace tilewise::TILEWISE_GPU {

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
}  // namespace tilewise::TILEWISE_GPU

#define TILEWISE_TABLE_NAME2(device) tilewise_gpu_table_##device
#define TILEWISE_TABLE_NAME(device) TILEWISE_TABLE_NAME2(device)
extern "C" const tilewise::OpFunction* TILEWISE_TABLE_NAME(TILEWISE_GPU)() { return tilewise::TILEWISE_GPU::kTable; }
