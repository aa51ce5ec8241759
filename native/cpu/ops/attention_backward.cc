// Gradients of attention. Weights are recomputed from log_sum_exp, block by block, and five products a block make all gradients in one
// pass. A task is one key head of one sequence: it alone adds to those rows of dk and dv, so nothing needs atomics and sums have one order.
// Where that gives fewer tasks than threads, keys are cut into chunks, and the chunks' dq are added at the end.
#include <vector>

#include "../elementwise.h"
#include "attention_problem.h"

namespace tilewise::cpu::TILEWISE_ISA {
namespace {

using namespace attention_tile;

struct Task {
  int64_t b, kv_head, chunk, cost;
};

// What one thread works in.
struct Work {
  float *keys, *values, *dkeys, *dvalues;  // [chunk][dim] or [chunk][value dim]
  float *query_rows, *queries, *dquery;    // [kQueries][dim], [dim][kQueries], [kQueries][dim]
  float *dout_rows, *douts;                // [kQueries][value dim], [value dim][kQueries]
  float *out_rows, *outs;                  // likewise
  float *scores, *dscores;                 // [kKeys][kQueries]
  float *log_sum_exp, *delta;              // [kQueries]
  MaskScratch mask;
  float* dbias;

  static int64_t floats(int64_t chunk, int64_t dim, int64_t value_dim, int64_t dbias) {
    return 2 * chunk * (dim + value_dim) + 3 * kQueries * dim + 4 * kQueries * value_dim + 2 * kKeys * kQueries + 2 * kQueries +
           MaskScratch::kFloats + dbias;
  }
  Work(float* at, int64_t chunk, int64_t dim, int64_t value_dim) {
    const auto take = [&at](int64_t n) { return std::exchange(at, at + n); };
    keys = take(chunk * dim);
    values = take(chunk * value_dim);
    dkeys = take(chunk * dim);
    dvalues = take(chunk * value_dim);
    query_rows = take(kQueries * dim);
    queries = take(kQueries * dim);
    dquery = take(kQueries * dim);
    dout_rows = take(kQueries * value_dim);
    douts = take(kQueries * value_dim);
    out_rows = take(kQueries * value_dim);
    outs = take(kQueries * value_dim);
    scores = take(kKeys * kQueries);
    dscores = take(kKeys * kQueries);
    log_sum_exp = take(kQueries);
    delta = take(kQueries);
    mask = {take(kQueries * kKeys), take(kQueries * kKeys)};
    dbias = at;
  }
};

struct Sides {
  const attention_backward_args& a;
  Problem p;
  Rows v, output, doutput, dq, dk, dv;
  MaskView dbias;
  int64_t padded_dim, padded;  // of queries and keys, of values
  int64_t chunks;              // that the keys of each sequence are cut into
  float* partial_dq;           // [chunks][rows][heads][dim] if chunks > 1

  explicit Sides(const attention_backward_args& args)
      : a(args),
        p(args),
        v(a.v, &a.k_offsets),
        output(a.output, &a.q_offsets),
        doutput(a.doutput, &a.q_offsets),
        dq(a.dq, &a.q_offsets),
        dk(a.dk, &a.k_offsets),
        dv(a.dv, &a.k_offsets),
        dbias(a.dbias),
        padded_dim(round_up(p.q.dim, kLanes)),
        padded(round_up(v.dim, kLanes)),
        chunks(1),
        partial_dq(nullptr) {}

  int64_t chunk_length(int64_t keys) const { return round_up((keys + chunks - 1) / chunks, kKeys); }
};

// Adds a block of score gradients to a gradient of the bias, whose repeated dimensions have stride 0.
void add_dbias(const Sides& x, const Block& block, const float* dscores, const Work& w) {
  const int64_t* strides = x.dbias.strides;
  float* to = w.dbias + x.dbias.at(block.sequence.b, block.head, block.first_query, block.first_key);
  if (strides[2] == 0) {  // summed over the queries, which lie together
    for (int64_t j = 0; j < block.keys; ++j) {
      float lanes[kLanes] = {};
      for (int64_t i = 0; i < block.queries; ++i) lanes[i % kLanes] += dscores[j * block.ld + i];
      float sum = 0;
      for (float lane : lanes) sum += lane;
      to[j * strides[3]] += sum;
    }
    return;
  }
  transpose(dscores, block.ld, round_up(block.keys, kLanes), block.ld, w.mask.rows, kKeys);
  for (int64_t i = 0; i < block.queries; ++i) {
    const float* from = w.mask.rows + i * kKeys;
    if (strides[3] == 0) {
      float sum = 0;
      for (int64_t j = 0; j < block.keys; ++j) sum += from[j];
      to[i * strides[2]] += sum;
    } else {
#pragma omp simd
      for (int64_t j = 0; j < block.keys; ++j) to[i * strides[2] + j] += from[j];
    }
  }
}

// scores -> weights (after dropout), dscores -> gradient of the scores
void differentiate(const Sides& x, const Block& block, const Work& w) {
  const int64_t ld = block.ld;
  const bool drops = x.a.dropout > 0.0f;
  if (drops) dropout_factors(x.p, block, x.a.dropout, x.a.seed, x.a.counter, w.mask);
  for (int64_t j = 0; j < block.keys; ++j) {
    for (int64_t i = 0; i < ld; i += kLanes) {
      float* score = w.scores + j * ld + i;
      float* dscore = w.dscores + j * ld + i;
      const Vec weight = exp2(load(score) - load(w.log_sum_exp + i) * kLog2E);
      if (drops) {
        const Vec factor = load(w.mask.columns + j * ld + i);
        store(score, weight * factor);
        store(dscore, weight * (load(dscore) * factor - load(w.delta + i)));
      } else {
        store(score, weight);
        store(dscore, weight * (load(dscore) - load(w.delta + i)));
      }
    }
  }
}

template <class T>
void load_queries(const Sides& x, const Sequence& s, int64_t head, int64_t begin, int64_t queries, int64_t ld, const Work& w) {
  const Problem& p = x.p;
  load_rows(p.q.at<const T>(s.b, begin, head), p.q.row_stride, queries, ld, p.q.dim, x.padded_dim, p.scale * kLog2E, w.query_rows);
  transpose(w.query_rows, x.padded_dim, ld, x.padded_dim, w.queries, ld);
  load_rows(x.doutput.at<const T>(s.b, begin, head), x.doutput.row_stride, queries, ld, x.v.dim, x.padded, 1.0f, w.dout_rows);
  transpose(w.dout_rows, x.padded, ld, x.padded, w.douts, ld);
  const float* log_sum_exp = x.a.log_sum_exp.as<float>() + (p.q.row(s.b) + begin) * p.heads + head;
  for (int64_t i = 0; i < ld; ++i) {
    // A row that sees nothing has -inf here, and weights of 0.
    const float value = i < queries ? log_sum_exp[i * p.heads] : -kInfinity;
    w.log_sum_exp[i] = value == -kInfinity ? kInfinity : value;
  }
  // delta = rowsum(doutput * output), added up in the order of the products below: where one key has all the weight, their difference is 0.
  load_rows(x.output.at<const T>(s.b, begin, head), x.output.row_stride, queries, ld, x.v.dim, x.padded, 1.0f, w.out_rows);
  transpose(w.out_rows, x.padded, ld, x.padded, w.outs, ld);
  for (int64_t i = 0; i < ld; i += kLanes) {
    Vec sum{};
    for (int64_t d = 0; d < x.v.dim; ++d) sum += load(w.outs + d * ld + i) * load(w.douts + d * ld + i);
    store(w.delta + i, sum);
  }
  std::memset(w.dquery, 0, static_cast<size_t>(queries * x.padded_dim) * sizeof(float));
}

template <class T>
void run_task(const Sides& x, const Task& task, const Work& w) {
  const Problem& p = x.p;
  const Sequence s(p, task.b);
  const int64_t length = x.chunk_length(s.keys), from = std::min(s.keys, task.chunk * length), to = std::min(s.keys, from + length);
  const int64_t dim = p.q.dim, value_dim = x.v.dim, pd = x.padded_dim, pv = x.padded;
  load_rows(p.k.at<const T>(s.b, from, task.kv_head), p.k.row_stride, to - from, to - from, dim, pd, 1.0f, w.keys);
  load_rows(x.v.at<const T>(s.b, from, task.kv_head), x.v.row_stride, to - from, to - from, value_dim, pv, 1.0f, w.values);
  std::memset(w.dkeys, 0, static_cast<size_t>((to - from) * pd) * sizeof(float));
  std::memset(w.dvalues, 0, static_cast<size_t>((to - from) * pv) * sizeof(float));
  for (int64_t head = task.kv_head * p.group; head < (task.kv_head + 1) * p.group; ++head) {
    for (int64_t begin = 0; begin < s.queries; begin += kQueries) {
      const int64_t queries = std::min(kQueries, s.queries - begin), ld = round_up(queries, kLanes);
      load_queries<T>(x, s, head, begin, queries, ld, w);
      Span found[2];
      const int spans = s.spans(p, begin, begin + queries, from, to, found);
      for (int at = 0; at < spans; ++at) {
        for (int64_t key = found[at].begin; key < found[at].end; key += kKeys) {
          const int64_t n = std::min(kKeys, found[at].end - key), row = key - from;
          const Block block = {s, head, begin, queries, key, n, ld, found[at].free};
          multiply<Into::assign>(n, ld, dim, w.keys + row * pd, pd, 1, w.queries, ld, w.scores, ld);
          mask_scores(p, block, w.mask, w.scores);
          multiply<Into::assign>(n, ld, value_dim, w.values + row * pv, pv, 1, w.douts, ld, w.dscores, ld);
          differentiate(x, block, w);
          if (x.a.dbias && !block.free) add_dbias(x, block, w.dscores, w);
          multiply<Into::add>(n, pv, queries, w.scores, ld, 1, w.dout_rows, pv, w.dvalues + row * pv, pv);
          multiply<Into::add>(n, pd, queries, w.dscores, ld, 1, w.query_rows, pd, w.dkeys + row * pd, pd);
          multiply<Into::add>(queries, pd, n, w.dscores, 1, ld, w.keys + row * pd, pd, w.dquery, pd);
        }
      }
      for (int64_t i = 0; i < queries; ++i) {
        if (x.chunks == 1) {
          store_row(w.dquery + i * pd, dim, p.scale, x.dq.at<T>(s.b, begin + i, head));
        } else {
          const int64_t rows = x.a.log_sum_exp.rows(), at = p.q.row(s.b) + begin + i;
          store_row(w.dquery + i * pd, dim, p.scale, x.partial_dq + ((task.chunk * rows + at) * p.heads + head) * dim);
        }
      }
    }
  }
  for (int64_t j = from; j < to; ++j) {
    store_row(w.dkeys + (j - from) * pd, dim, kLn2, x.dk.at<T>(s.b, j, task.kv_head));  // the queries carry scale * log2(e)
    store_row(w.dvalues + (j - from) * pv, value_dim, 1.0f, x.dv.at<T>(s.b, j, task.kv_head));
  }
}

template <class T>
void join_chunks(const Sides& x) {
  const Problem& p = x.p;
  const int64_t dim = p.q.dim, size = x.a.log_sum_exp.rows() * p.heads * dim;
  for (int64_t b = 0; b < p.batch; ++b) {
    const int64_t rows = p.q.length(b);
    parallel_for(rows * p.heads, std::max<int64_t>(1, 4096 / std::max<int64_t>(1, dim * x.chunks)), [&](int64_t begin, int64_t end) {
      for (int64_t at = begin; at < end; ++at) {
        float* sum = x.partial_dq + (p.q.row(b) * p.heads + at) * dim;
        for (int64_t chunk = 1; chunk < x.chunks; ++chunk) {
#pragma omp simd
          for (int64_t d = 0; d < dim; ++d) sum[d] += sum[chunk * size + d];
        }
        store_row(sum, dim, 1.0f, x.dq.at<T>(b, at / p.heads, at % p.heads));
      }
    });
  }
}

template <class T>
Status run(Context& context, const attention_backward_args& a) {
  Sides x(a);
  const Problem& p = x.p;
  TILEWISE_RETURN_IF_ERROR(p.check("attention_backward"));
  const int64_t most_threads = omp_get_max_threads(), pairs = p.batch * p.k.heads;
  int64_t longest = 0;
  for (int64_t b = 0; b < p.batch; ++b) longest = std::max(longest, p.k.length(b));
  if (pairs > 0 && pairs < most_threads)
    x.chunks = std::clamp<int64_t>((longest + kKeys - 1) / kKeys, 1, (most_threads + pairs - 1) / pairs);
  std::vector<Task> tasks;
  for (int64_t b = 0; b < p.batch; ++b) {
    const Sequence s(p, b);
    const int64_t length = x.chunk_length(s.keys);
    for (int64_t h = 0; h < p.k.heads; ++h)
      for (int64_t chunk = 0; chunk < x.chunks; ++chunk)
        tasks.push_back({b, h, chunk, s.cost(p, 0, s.queries, std::min(s.keys, chunk * length), std::min(s.keys, (chunk + 1) * length))});
  }
  const int64_t count = static_cast<int64_t>(tasks.size());
  int64_t cost = 0;
  for (const Task& task : tasks) cost += task.cost;
  const int threads = thread_count(count, cost * p.group * (3 * p.q.dim + 2 * x.v.dim));

  // A bias that several tasks share gets a sum a thread, which takes a fixed part of the tasks; the sums are added in order.
  const int64_t dbias_size = a.dbias ? a.dbias.count() : 0;
  const bool shared = a.dbias && ((x.dbias.strides[0] == 0 && p.batch > 1) || (x.dbias.strides[1] == 0 && p.k.heads > 1) ||
                                  (x.dbias.strides[3] == 0 && x.chunks > 1));
  const int64_t own_dbias = shared ? round_up(dbias_size, 16) : 0;
  const int64_t chunk = x.chunk_length(longest), rows = a.log_sum_exp.rows();
  const int64_t per_thread = round_up(Work::floats(chunk, x.padded_dim, x.padded, own_dbias), 16);
  const int64_t partial = x.chunks > 1 ? x.chunks * rows * p.heads * p.q.dim : 0;
  void* memory;
  TILEWISE_RETURN_IF_ERROR(context.scratch(static_cast<size_t>(threads * per_thread + partial) * sizeof(float), &memory));
  float* const scratch = static_cast<float*>(memory);
  x.partial_dq = scratch + threads * per_thread;
  if (a.dbias && !shared) std::memset(a.dbias.data, 0, static_cast<size_t>(dbias_size) * sizeof(float));
  if (!shared) std::stable_sort(tasks.begin(), tasks.end(), [](const Task& one, const Task& two) { return one.cost > two.cost; });
  const auto work_of = [&](int64_t thread) { return Work(scratch + thread * per_thread, chunk, x.padded_dim, x.padded); };
#pragma omp parallel num_threads(threads)
  {
    Work w = work_of(omp_get_thread_num());
    if (shared) {
      std::memset(w.dbias, 0, static_cast<size_t>(dbias_size) * sizeof(float));
#pragma omp for schedule(static)
      for (int64_t t = 0; t < count; ++t) run_task<T>(x, tasks[t], w);
#pragma omp for schedule(static)
      for (int64_t n = 0; n < dbias_size; ++n) {
        float sum = 0;
        for (int thread = 0; thread < threads; ++thread) sum += work_of(thread).dbias[n];
        a.dbias.as<float>()[n] = sum;
      }
    } else {
      w.dbias = a.dbias ? a.dbias.as<float>() : nullptr;
#pragma omp for schedule(dynamic, 1)
      for (int64_t t = 0; t < count; ++t) run_task<T>(x, tasks[t], w);
    }
  }
  if (x.chunks > 1) join_chunks<T>(x);
  return Status::ok();
}

}  // namespace

Status attention_backward(Context& context, const attention_backward_args& a) {
  if (a.q.dtype == DType::f32) return run<float>(context, a);
  if (a.q.dtype == DType::bf16) return run<bf16>(context, a);
  return unsupported(std::string("attention of dtype ") + name_of(a.q.dtype));
}

}  // namespace tilewise::cpu::TILEWISE_ISA
