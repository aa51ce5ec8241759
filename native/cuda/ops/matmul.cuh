// c = alpha * a @ b, batched, with operands as views have them: the kernels read any strides.
#include "../gemm.h"

namespace tilewise::TILEWISE_GPU {
namespace {

// The steps of an operand along c's leading dimensions; 0 repeats.
void batch_strides(const View& x, const View& c, int64_t (&strides)[kMaxRank]) {
  const int missing = c.rank - x.rank;
  for (int i = 0; i + 2 < c.rank; ++i) strides[i] = i < missing || x.dims[i - missing] == 1 ? 0 : x.strides[i - missing];
}

}  // namespace

Status matmul(Context& context, const matmul_args& args) {
  const View &a = args.a, &b = args.b, &c = args.c;
  if (c.count() == 0) return Status::ok();
  GemmProblem p;
  p.dtype = a.dtype;
  p.m = c.dims[c.rank - 2], p.n = c.dims[c.rank - 1], p.k = a.last();
  p.a = {a.data, a.strides[a.rank - 2], a.strides[a.rank - 1]};
  p.b = {b.data, b.strides[b.rank - 1], b.strides[b.rank - 2]};
  GemmBatch& batch = p.batch;
  int64_t steps_a[kMaxRank], steps_b[kMaxRank];
  batch_strides(a, c, steps_a);
  batch_strides(b, c, steps_b);
  for (int i = 0; i + 2 < c.rank; ++i) {
    if (c.dims[i] == 1) continue;
    batch.count *= c.dims[i];
    // A dimension whose steps continue those of the one outside it is part of it.
    if (int last = batch.rank - 1;
        last >= 0 && batch.strides_a[last] == steps_a[i] * c.dims[i] && batch.strides_b[last] == steps_b[i] * c.dims[i]) {
      batch.dims[last] *= c.dims[i];
      batch.strides_a[last] = steps_a[i], batch.strides_b[last] = steps_b[i];
      continue;
    }
    batch.dims[batch.rank] = c.dims[i];
    batch.strides_a[batch.rank] = steps_a[i];
    batch.strides_b[batch.rank++] = steps_b[i];
  }
  // Where all matrices meet one b, and their rows follow each other, they are one taller matrix.
  if (batch.rank == 1 && batch.strides_b[0] == 0 && (p.m == 1 || batch.strides_a[0] == p.m * p.a.line_stride)) {
    if (p.m == 1) p.a.line_stride = batch.strides_a[0];
    p.m *= batch.count;
    batch = GemmBatch{};
  }
  GemmEpilogue& e = p.epilogue;
  e.alpha = args.alpha;
  e.output_f32 = c.dtype == DType::f32;
  e.outputs[0] = {c.data, p.n, p.n};
  e.batch_stride = batch.count > 1 ? p.m * p.n : 0;
  return gemm(context, p);
}

}  // namespace tilewise::TILEWISE_GPU
