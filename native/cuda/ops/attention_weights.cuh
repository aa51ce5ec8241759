// Attention weights, recomputed from queries, keys and log_sum_exp: what a look at the weights costs is paid by the look alone.
#include "../prim/attention_weights.cuh"
#include "../prim/dispatch.h"

namespace tilewise::TILEWISE_GPU {
namespace {

using namespace attention_tile;

template <class T, int P>
Status run(Context& context, const attention_weights_args& a) {
  AttentionMatrix matrix(gpu_of(context), a, a.k, a.q, AttentionDropout(0.0f, 0, 0), nullptr, a.weights);
  if (!matrix.p.fits()) return unsupported("attention_weights of a sequence of " + std::to_string(max(a.max_q, a.max_k)) + " tokens");
  if (matrix.dims[1] == 1) matrix.factor = 1.0f / static_cast<float>(matrix.p.heads);
  return write_matrix<T, P, false>(context, "attention_weights", matrix);
}

}  // namespace

Status attention_weights(Context& context, const attention_weights_args& a) {
  return dispatch_head_dim("attention_weights", a.q.last(), 1, [&](auto padded) {
    return dispatch_float(a.q.dtype, [&](auto type) { return run<decltype(type), decltype(padded)::value>(context, a); });
  });
}

}  // namespace tilewise::TILEWISE_GPU
