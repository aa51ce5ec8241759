// The ops of Gpu devices: each file of ops/ holds an op's kernels and its launcher, compiled by nvcc for the CUDA device and by the host
// compiler for the machine of fibers (native/simt), from one text.
#pragma once
#include "../simt/simt.h"

namespace tilewise::TILEWISE_GPU {

#define OP(name, fields) Status name(Context&, const name##_args&);
#include "../core/ops.def"
#undef OP

inline Status unsupported(const std::string& what) { return Status::error(Code::unsupported, what + " on a GPU device"); }

}  // namespace tilewise::TILEWISE_GPU
