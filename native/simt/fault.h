// Faults of kernel text become errors of its launch: guard pages around every buffer turn an access out of bounds into one.
#pragma once

namespace tilewise::simt {

// Installs the process's handler once, and this thread's signal stack. What is no kernel's fault goes to the handler that was there.
void catch_faults();

}  // namespace tilewise::simt
