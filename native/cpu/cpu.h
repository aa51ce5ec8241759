// The CPU device's ops. Each file of ops/ is compiled once an instruction set (baseline x86-64, AVX2, AVX-512), in a namespace of that
// name, and its symbols are made local: the same text vectorizes for each, and one binary runs on any x86-64.
#pragma once
#include "../core/backend.h"

#ifndef TILEWISE_ISA
#error "TILEWISE_ISA names the namespace of this build's instruction set"
#endif

namespace tilewise::cpu::TILEWISE_ISA {

#define OP(name, fields) Status name(Context&, const name##_args&);
#include "../core/ops.def"
#undef OP

inline Status unsupported(const std::string& what) { return Status::error(Code::unsupported, what + " on the cpu device"); }

}  // namespace tilewise::cpu::TILEWISE_ISA
