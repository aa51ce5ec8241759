// The machine's device memory: every block ends at a guard page, so that reading or writing past it is caught at the access, and starts
// behind a canary. New memory holds NaN.
#pragma once
#include <cstddef>
#include <string>

namespace tilewise::simt {

// Null where the system has no more. 16-byte aligned.
void* guarded_allocate(size_t bytes);
// What was written outside of the block, or empty.
std::string guarded_release(void* memory);

}  // namespace tilewise::simt
