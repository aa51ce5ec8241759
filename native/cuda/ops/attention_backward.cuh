// Gradients of attention, without atomics and the same bits every time. Weights are recomputed from log_sum_exp, in one kernel whose blocks
// own queries (dq, and delta = rowsum(doutput * output) for the other) and one whose blocks own keys (dk, dv). That is seven products where
// one kernel that sums dq across blocks of keys has five. Its sums would have to come in order. Left in memory for a second kernel, the
// parts of 128 keys are 8 bytes moved for each row and column, where the two products saved are 512 operations: 1.7 ps against
// 0.85 (an H200: 4.8 TB/s, 600 TFLOP/s of mma.sync), and that at any length, 512 tokens or 16 thousand; in a cache that holds them the rate
// is about the same. Added up in turn, blocks wait for each other. The gradient of a bias, asked for seldom, is a kernel of its own with
// two more: whatever dimensions the bias repeats over, a block owns what it writes.
#include "../prim/attention_key_gradients.cuh"
#include "../prim/attention_query_gradients.cuh"
#include "../prim/dispatch.h"

namespace tilewise::TILEWISE_GPU {
namespace {

using namespace attention_tile;

template <class T, int P>
Status run(Context& context, const attention_backward_args& args) {
  constexpr bool kPairs = P > 64;  // of warps that share keys
  constexpr int kQueryRows = kPairs ? kScoreColumns<T, P> : kTileRows<T, P>, kOwnerRows = 16 * kSumBlocks<T, P>;
  constexpr size_t kRow = P * sizeof(T), kStatistics = 2 * sizeof(float), kPassed = kPairs ? kOwnerRows * kQueryRows * sizeof(float) : 0;
  constexpr size_t kKeyStages = 4 * kKeyRows<T, P> * kRow, kOwnedQueries = kOwnerRows * (2 * kRow + kStatistics);
  constexpr size_t kQueryStages = 2 * kQueryRows * (2 * kRow + kStatistics), kOwnedKeys = kOwnerRows * 2 * kRow + kPassed;

  const Gpu& gpu = gpu_of(context);
  AttentionGradients a(gpu, args);
  const AttentionProblem& p = a.p;
  if (!p.fits()) return unsupported("attention_backward of a sequence of " + std::to_string(max(p.max_q, p.max_k)) + " tokens");
  const int64_t heads = int64_t{p.batch} * p.kv_heads, rows = int64_t{p.max_q} * p.group;
  const int query_owners = gradient_owners(gpu, rows, kOwnerRows, 1, kKeyStages, kOwnedQueries);
  const int key_owners = gradient_owners(gpu, p.max_k, kOwnerRows, kPairs ? 2 : 1, kQueryStages, kOwnedKeys);
  a.row_tiles = static_cast<int>((rows + kOwnerRows * query_owners - 1) / (kOwnerRows * query_owners));
  a.key_tiles = (p.max_k + kOwnerRows * key_owners - 1) / (kOwnerRows * key_owners);
  const int64_t row_blocks = heads * a.row_tiles, key_blocks = heads * a.key_tiles;
  if (row_blocks > 0x7fffffff || key_blocks > 0x7fffffff)
    return unsupported("attention_backward of " + std::to_string(heads * rows) + " rows");

  const size_t statistics = static_cast<size_t>(args.log_sum_exp.count());
  void* memory;
  TILEWISE_RETURN_IF_ERROR(context.scratch(statistics * kStatistics, &memory));
  a.log2_sum = static_cast<float*>(memory);
  a.delta = a.log2_sum + statistics;
  const LaunchShape queries{"attention_backward_queries", dim3(static_cast<unsigned>(row_blocks)), dim3(32 * query_owners),
                            kKeyStages + kOwnedQueries * query_owners};
  TILEWISE_RETURN_IF_ERROR(launch(gpu, queries, attention_backward_queries<T, P>, a));
  LaunchShape keys{"attention_backward_keys", dim3(static_cast<unsigned>(key_blocks)), dim3(32 * key_owners),
                   kQueryStages + kOwnedKeys * key_owners};
  if constexpr (kPairs) {
    keys.block.x *= 2;
    TILEWISE_RETURN_IF_ERROR(launch(gpu, keys, attention_backward_key_pairs<T, P>, a));
  } else {
    TILEWISE_RETURN_IF_ERROR(launch(gpu, keys, attention_backward_keys<T, P>, a));
  }
  if (!args.dbias) return Status::ok();
  return write_matrix<T, P, true>(context, "attention_backward_bias",
                                  AttentionMatrix(gpu, args, args.v, args.doutput, a.dropout, a.delta, args.dbias));
}

}  // namespace

Status attention_backward(Context& context, const attention_backward_args& a) {
  return dispatch_head_dim("attention_backward", a.q.last(), a.v.last(), [&](auto padded) {
    return dispatch_float(a.q.dtype, [&](auto type) { return run<decltype(type), decltype(padded)::value>(context, a); });
  });
}

}  // namespace tilewise::TILEWISE_GPU
