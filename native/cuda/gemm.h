// Matrix products of GPU devices, with what follows them done in the same pass: what launchers of ops fill in. The kernels are in
// prim/gemm.cuh and prim/gemm_few_rows.cuh, compiled once a dtype by the files of gemm/.
#pragma once
#include "../core/qkv.h"
#include "../core/scalar.h"
#include "cuda.h"

namespace tilewise::TILEWISE_GPU {

// A factor: element (line, k) lies at line * line_stride + k * k_stride, in elements; lines are rows of A or columns of B. One stride of 1,
// the other and the base multiples of 16 bytes: asynchronous copies. Anything else is loaded element by element.
struct GemmOperand {
  const void* data = nullptr;
  int64_t line_stride = 0, k_stride = 0;
};

// From this k on, A's elements lie elsewhere: the factors' columns may come from several tensors.
struct GemmSegment {
  int64_t first_k = 0;
  const void* data = nullptr;
  int64_t line_stride = 0;
};

// Products of one shape over leading dimensions; a stride of 0 repeats.
struct GemmBatch {
  static constexpr int kMaxDims = kMaxRank - 2;
  int64_t count = 1;
  int rank = 0;
  int64_t dims[kMaxDims] = {};  // outermost first
  int64_t strides_a[kMaxDims] = {}, strides_b[kMaxDims] = {};
};

// A matrix beside the result, of the factors' dtype; null data: absent.
struct GemmBeside {
  void* data = nullptr;
  int64_t ld = 0;
};

// Columns up to `end` of the result: of the factors' dtype, or f32 where they are accumulated or output_f32 asks for it.
struct GemmOutput {
  void* data = nullptr;
  int64_t ld = 0;
  int64_t end = 0;
  bool cached = false;  // GemmHeads says which row each row goes to
};

// What can be done to columns that are heads of attention, by kernels of their own: they turn, and rows go to a cache.
struct GemmHeads {
  Rotary rotary;
  const int32_t* slots = nullptr;  // [m]: rows of the cached outputs, which have slot_rows; a row with a negative one is not kept
  int64_t slot_rows = 0;
  DeviceFault* fault = nullptr;  // gets bad positions as the op's first indices, bad slots as its second
  bool groups = false;           // set by gemm(): the angles of four columns, and the columns they turn with, are aligned groups

  explicit operator bool() const { return rotary.cosines || slots; }
};

// What is done to a product v, in f32, before it is rounded and stored:
//   forward     v = alpha v + bias; preactivation = v; v = activation(v), gated: activation(gate) * up; dropout; v += residual
//   derivative  (at.data given) v is the gradient of dropout(activation(at)): the gradient at `at` is stored, gated both halves of it;
//               hidden = dropout(activation(at)) once more, where wanted
//   accumulate  outputs += alpha v, in f32
//   heads       v += bias; pairs of columns turn; rows of cached outputs go where slots say. alpha is 1, and nothing else is asked for.
// Gated: the product has the columns of the gate, then those of up; `columns` counts one half. Dropout's element index is
// (first_row + row) * columns + column.
struct GemmEpilogue {
  float alpha = 1;
  int32_t columns = 0;
  Activation activation = Activation::none;
  bool gated = false, accumulate = false, output_f32 = false, bias_f32 = false;
  bool vectors = false;  // set by gemm(): groups of four columns are aligned everywhere
  const void* bias = nullptr;
  GemmBeside preactivation;  // written
  GemmBeside at;             // read: a saved preactivation
  GemmBeside hidden;         // written
  GemmBeside residual;       // read
  GemmHeads heads;
  GemmOutput outputs[3];
  int output_count = 1;
  int64_t batch_stride = 0;  // of outputs[0]
  float dropout = 0;
  uint64_t seed = 0, counter = 0;
  int64_t first_row = 0;
};

struct GemmProblem {
  DType dtype = DType::f32;     // of the factors
  int64_t m = 0, n = 0, k = 0;  // n: the product's columns, gated twice those of the result
  GemmOperand a, b;
  GemmSegment segments[2];  // of A, only without a batch
  int segment_count = 0;
  GemmBatch batch;
  GemmEpilogue epilogue;
};

// The result is written whole, also where k is 0. Deterministic: the order of sums follows from the shape and the device.
Status gemm(Context& context, GemmProblem problem);

// --- between gemm() and the kernels

enum class Major { k, line, neither };  // which stride of a factor is 1

// What the second eight columns of a block of gemm_few_rows are to the first.
enum class FewRowsSecond : int32_t {
  none,     // they are not there
  beside,   // the next eight
  gate_up,  // those of up
  partner,  // those that turn with the first; of columns that do not turn, the next eight
};

// How gemm_few_rows shares a product of few rows.
struct GemmFewRows {
  FewRowsSecond second = FewRowsSecond::none;
  int32_t blocks = 0;                  // of one product of the batch
  int32_t warps = 0, chunks = 0;       // a block's warps, and 64 bytes of k for each
  int32_t heads = 0, head_blocks = 0;  // partner: heads that turn, and the blocks of each
};

// What a kernel gets.
struct GemmArguments {
  int32_t m, n, k;
  int32_t tiles_m, tiles_n, group;    // tiles are taken `group` rows of tiles at a time
  int32_t splits, k_tiles_per_split;  // the product's depth is cut in `splits` parts, whose sums go to `partials`
  bool tf32;
  float* partials;  // [batch, splits, m, n]; null: the sums are finished in their tiles
  GemmFewRows few_rows;
  GemmOperand a, b;
  GemmSegment segments[2];
  int segment_count;
  GemmBatch batch;
  GemmEpilogue epilogue;
};

struct GemmVariant {
  bool few_rows, large;
  Major a, b;
};

Status launch_gemm_f32(const Gpu&, const GemmVariant&, const GemmArguments&);
Status launch_gemm_bf16(const Gpu&, const GemmVariant&, const GemmArguments&);
Status launch_gemm_f16(const Gpu&, const GemmVariant&, const GemmArguments&);

}  // namespace tilewise::TILEWISE_GPU
