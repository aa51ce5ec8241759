// Attention weights, recomputed from queries, keys and log_sum_exp: what a look at the weights costs is paid by the look alone.
#include "../elementwise.h"
#include "attention_problem.h"

namespace tilewise::cpu::TILEWISE_ISA {
namespace {

using namespace attention_tile;

struct Work {
  float *query_rows, *queries, *keys, *scores, *log_sum_exp;
  MaskScratch mask;

  static int64_t floats(int64_t dim) { return (2 * kQueries + kKeys) * dim + kKeys * kQueries + kQueries + MaskScratch::kFloats; }
  Work(float* at, int64_t dim) {
    const auto take = [&at](int64_t n) { return std::exchange(at, at + n); };
    query_rows = take(kQueries * dim);
    queries = take(kQueries * dim);
    keys = take(kKeys * dim);
    scores = take(kKeys * kQueries);
    log_sum_exp = take(kQueries);
    mask = {take(kQueries * kKeys), take(kQueries * kKeys)};
  }
};

// out [.., max_k] += factor * weights of queries [begin, begin + queries) of one head
template <class T>
void add_weights(const attention_weights_args& a, const Problem& p, const Sequence& s, int64_t head, int64_t begin, int64_t queries,
                 float factor, float* out, const Work& w) {
  const int64_t ld = round_up(queries, kLanes), dim = p.q.dim, padded = round_up(dim, kLanes), kv_head = head / p.group;
  load_rows(p.q.at<const T>(s.b, begin, head), p.q.row_stride, queries, ld, dim, padded, p.scale * kLog2E, w.query_rows);
  transpose(w.query_rows, padded, ld, padded, w.queries, ld);
  for (int64_t i = 0; i < ld; ++i) {
    const float value = i < queries ? a.log_sum_exp.as<float>()[(p.q.row(s.b) + begin + i) * p.heads + head] : -kInfinity;
    w.log_sum_exp[i] = value == -kInfinity ? kInfinity : value;
  }
  Span found[2];
  const int spans = s.spans(p, begin, begin + queries, 0, s.keys, found);
  for (int at = 0; at < spans; ++at) {
    for (int64_t key = found[at].begin; key < found[at].end; key += kKeys) {
      const int64_t keys = std::min(kKeys, found[at].end - key);
      const Block block = {s, head, begin, queries, key, keys, ld, found[at].free};
      load_rows(p.k.at<const T>(s.b, key, kv_head), p.k.row_stride, keys, keys, dim, padded, 1.0f, w.keys);
      multiply<Into::assign>(keys, ld, dim, w.keys, padded, 1, w.queries, ld, w.scores, ld);
      mask_scores(p, block, w.mask, w.scores);
      for (int64_t n = 0; n < keys * ld; n += ld)
        for (int64_t i = 0; i < ld; i += kLanes) store(w.scores + n + i, exp2(load(w.scores + n + i) - load(w.log_sum_exp + i) * kLog2E));
      transpose(w.scores, ld, round_up(keys, kLanes), ld, w.mask.rows, kKeys);
      for (int64_t i = 0; i < queries; ++i) {
        float* row = out + i * p.max_k + key;
#pragma omp simd
        for (int64_t j = 0; j < keys; ++j) row[j] += factor * w.mask.rows[i * kKeys + j];
      }
    }
  }
}

template <class T>
Status run(Context& context, const attention_weights_args& a) {
  const Problem p(a);
  TILEWISE_RETURN_IF_ERROR(p.check("attention_weights"));
  if (a.weights.count() == 0) return Status::ok();
  const int64_t out_heads = a.weights.dims[1], blocks = (p.max_q + kQueries - 1) / kQueries, tasks = p.batch * out_heads * blocks;
  const int64_t heads_each = p.heads / out_heads, padded = round_up(p.q.dim, kLanes), per_thread = round_up(Work::floats(padded), 16);
  const int threads = thread_count(tasks, p.batch * p.heads * p.max_q * p.max_k * p.q.dim);
  void* memory;
  TILEWISE_RETURN_IF_ERROR(context.scratch(static_cast<size_t>(threads * per_thread) * sizeof(float), &memory));
#pragma omp parallel num_threads(threads)
  {
    const Work w(static_cast<float*>(memory) + omp_get_thread_num() * per_thread, padded);
#pragma omp for schedule(dynamic, 1)
    for (int64_t t = 0; t < tasks; ++t) {
      const int64_t begin = t % blocks * kQueries, out_head = t / blocks % out_heads;
      const Sequence s(p, t / blocks / out_heads);
      float* out = a.weights.as<float>() + ((s.b * out_heads + out_head) * p.max_q + begin) * p.max_k;
      std::memset(out, 0, static_cast<size_t>(std::min(kQueries, p.max_q - begin) * p.max_k) * sizeof(float));
      if (begin >= s.queries) continue;
      const int64_t queries = std::min(kQueries, s.queries - begin);
      for (int64_t h = 0; h < heads_each; ++h)
        add_weights<T>(a, p, s, out_head * heads_each + h, begin, queries, 1.0f / static_cast<float>(heads_each), out, w);
    }
  }
  return Status::ok();
}

}  // namespace

Status attention_weights(Context& context, const attention_weights_args& a) {
  if (a.q.dtype == DType::f32) return run<float>(context, a);
  if (a.q.dtype == DType::bf16) return run<bf16>(context, a);
  return unsupported(std::string("attention_weights of dtype ") + name_of(a.q.dtype));
}

}  // namespace tilewise::cpu::TILEWISE_ISA
