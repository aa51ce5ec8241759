// The result of everything that can fail below the binding. Nothing here throws, aborts or exits: the process belongs to the user.
#pragma once
#include <string>
#include <utility>

namespace tilewise {

enum class Code : int {
  ok = 0,
  invalid_argument,  // the caller's fault; TypeScript should have caught it
  unsupported,       // a combination this backend does not compute
  out_of_memory,     // recoverable: only the failed op and what depends on it are lost
  device_error,      // the op failed, the device lives
  device_lost,       // sticky: nothing works on this device until the process restarts
};

struct [[nodiscard]] Status {
  Code code = Code::ok;
  std::string message;

  static Status ok() { return {}; }
  static Status error(Code code, std::string message) { return {code, std::move(message)}; }
  explicit operator bool() const { return code == Code::ok; }
};

}  // namespace tilewise

#define TILEWISE_RETURN_IF_ERROR(expression)                                 \
  do {                                                                       \
    if (::tilewise::Status status_ = (expression); !status_) return status_; \
  } while (0)
