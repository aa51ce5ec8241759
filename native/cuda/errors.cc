#include "errors.h"

namespace tilewise::TILEWISE_GPU {

Status status_of(cudaError_t error, const char* doing) {
  if (error == cudaSuccess) return Status::ok();
  std::string message = std::string(doing) + ": " + cudaGetErrorString(error) + " (" + cudaGetErrorName(error) + ", " +
                        std::to_string(static_cast<int>(error)) + ")";
  (void)cudaGetLastError();  // an error that is not sticky is forgotten here, not found by the next launch
  if (error == cudaErrorMemoryAllocation) return Status::error(Code::out_of_memory, std::move(message));
  return Status::error(is_sticky(error) ? Code::device_lost : Code::device_error, std::move(message));
}

Status launch_status(cudaError_t error, const char* kernel) { return status_of(error, kernel); }

}  // namespace tilewise::TILEWISE_GPU
