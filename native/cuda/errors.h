// CUDA's errors as statuses.
#pragma once
#include "../simt/simt.h"

namespace tilewise::TILEWISE_GPU {

// Errors after which every call of this process fails: they have destroyed the GPU's context, and only a new process gets another one.
constexpr bool is_sticky(int error) {
  switch (error) {
    case 226:  // a contained error: uncorrectable memory, for one
    case 700:  // illegal address
    case 702:  // launch timeout
    case 710:  // assert
    case 714:  // hardware stack error
    case 715:  // illegal instruction
    case 716:  // misaligned address
    case 717:  // invalid address space
    case 718:  // invalid program counter
    case 719:  // launch failure
    case 721:  // tensor memory leak
    case 810:  // the multi-process service ended the client
    case 911:  // an external device failed
      return true;
    default:
      return false;
  }
}

// ok for cudaSuccess. The code says whether memory was short, the device is lost, or only this call failed; the message begins with
// `doing`.
Status status_of(cudaError_t error, const char* doing);

}  // namespace tilewise::TILEWISE_GPU

#define TILEWISE_RETURN_IF_CUDA_ERROR(doing, call) TILEWISE_RETURN_IF_ERROR(status_of(call, doing))
