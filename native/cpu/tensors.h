// Loops over the elements of many tensors at once: pieces of equal size, so that threads share tensors of any size evenly.
#pragma once
#include "elementwise.h"

namespace tilewise::cpu::TILEWISE_ISA {

struct Piece {
  int32_t tensor;
  int64_t from, count;
};

constexpr int64_t kPieceSize = 16384;

// The pieces of all tensors in order, in scratch memory.
inline Status pieces_of(Context& context, const ViewList& tensors, Piece** pieces, int64_t* count) {
  int64_t total = 0;
  for (const View& tensor : tensors) total += (tensor.count() + kPieceSize - 1) / kPieceSize;
  void* memory = nullptr;
  TILEWISE_RETURN_IF_ERROR(context.scratch(static_cast<size_t>(std::max<int64_t>(1, total)) * sizeof(Piece), &memory));
  *pieces = static_cast<Piece*>(memory);
  *count = 0;
  for (int t = 0; t < tensors.count; ++t) {
    const int64_t size = tensors[t].count();
    for (int64_t from = 0; from < size; from += kPieceSize) (*pieces)[(*count)++] = {t, from, std::min(kPieceSize, size - from)};
  }
  return Status::ok();
}

}  // namespace tilewise::cpu::TILEWISE_ISA
