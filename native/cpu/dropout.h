// A dropout's factors on values.
#pragma once
#include "../core/random.h"
#include "cpu.h"

namespace tilewise::cpu::TILEWISE_ISA {

// x by its factor of the mask: what is dropped is 0, also where it was not finite.
inline __attribute__((always_inline)) float kept(float factor, float x) { return random::value_if(factor != 0.0f, factor * x); }

}  // namespace tilewise::cpu::TILEWISE_ISA
