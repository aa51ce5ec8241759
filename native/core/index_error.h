// What every device says of a row number that is data and lies outside of its table.
#pragma once
#include <string>

#include "status.h"
#include "view.h"

namespace tilewise {

// index: the i32 tensor `name`, whose element number `at` is `value` and must be in [0, rows).
inline Status index_error(const char* name, const View& index, int64_t at, int64_t rows, int64_t value) {
  std::string place;
  for (int i = index.rank - 1; i >= 0; --i) {
    place = std::to_string(at % index.dims[i]) + (place.empty() ? "" : ", ") + place;
    at /= index.dims[i];
  }
  return Status::error(Code::invalid_argument, std::string(name) + "[" + place + "] must be from 0 to " + std::to_string(rows - 1) +
                                                   ", is " + std::to_string(value));
}

// A target of cross entropy that is neither a class nor the ignored index.
inline Status target_error(int64_t row, int64_t classes, int64_t ignored, int64_t value) {
  return Status::error(Code::invalid_argument, "the target of row " + std::to_string(row) + " must be from 0 to " +
                                                   std::to_string(classes - 1) + " or the ignored index " + std::to_string(ignored) +
                                                   ", is " + std::to_string(value));
}

}  // namespace tilewise
