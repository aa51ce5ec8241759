// What an op sees of a tensor: a pointer, a type, sizes and strides.
#pragma once
#include <cstdint>
#include <string>

#include "dtype.h"

namespace tilewise {

constexpr int kMaxRank = 6;

struct View {
  void* data;
  DType dtype;
  int32_t rank;
  int64_t dims[kMaxRank];
  int64_t strides[kMaxRank];  // in elements; 0 repeats, as broadcasting needs

  // An absent optional tensor has rank -1; an empty one has a rank, and may have no data.
  explicit operator bool() const { return rank >= 0; }

  int64_t count() const {
    int64_t n = 1;
    for (int i = 0; i < rank; ++i) n *= dims[i];
    return n;
  }
  // Rows of a tensor whose last dimension is its row.
  int64_t rows() const {
    int64_t n = 1;
    for (int i = 0; i + 1 < rank; ++i) n *= dims[i];
    return n;
  }
  int64_t last() const { return rank > 0 ? dims[rank - 1] : 1; }
  bool contiguous() const {
    int64_t expected = 1;
    for (int i = rank - 1; i >= 0; --i) {
      if (dims[i] != 1 && strides[i] != expected) return false;
      expected *= dims[i];
    }
    return true;
  }
  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
  std::string shape_string() const {
    std::string text = "[";
    for (int i = 0; i < rank; ++i) text += (i ? ", " : "") + std::to_string(dims[i]);
    return text + "]";
  }
};

inline View absent_view() {
  View view{};
  view.rank = -1;
  return view;
}

struct ViewList {
  const View* items;
  int32_t count;

  const View& operator[](int i) const { return items[i]; }
  const View* begin() const { return items; }
  const View* end() const { return items + count; }
};

}  // namespace tilewise
