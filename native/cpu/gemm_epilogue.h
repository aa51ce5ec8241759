// What follows a product, for one block of C.
#pragma once
#include "gemm.h"

namespace tilewise::cpu {

// A block of C and where its product lies.
struct Block {
  int64_t row = 0, rows = 0, column = 0, columns = 0;
  const float* product = nullptr;  // [rows, columns], null for zeros (k = 0); may be the block of C itself
  int64_t product_ld = 0;
  float alpha = 1, beta = 0;  // those that the product does not contain yet
};

// C[block] = epilogue(alpha * product + beta * C). c and all matrices of e point at row 0, column 0 of the whole.
void finish(const Block& block, const Gemm& g, void* c, const Epilogue& e);

inline bool is_identity(const Epilogue& e) {
  return !e.bias && e.activation == Activation::none && !e.pre_activation.data && !e.gradient_at.data && !e.residual.data;
}

}  // namespace tilewise::cpu
