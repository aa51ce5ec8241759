// Attention, blockwise with an online softmax: scores of 64 queries by 64 keys at a time, in scratch memory of each thread.
#include <cmath>
#include <vector>

#include "../elementwise.h"
#include "attention_decode.h"

namespace tilewise::cpu::TILEWISE_ISA {
namespace {

using namespace attention_tile;

// Queries [begin, begin + kQueries) of one head; or, with parts, all queries of the heads of one key head over some of the keys.
struct Task {
  int64_t b, head, begin, cost;
  int64_t part, row;  // decoding: which part of the keys, and where its first row lies among the partial results; else part is -1
};

struct Plan {
  std::vector<Task> tasks;
  int64_t partial_rows = 0, cost = 0;
};

int64_t parts_of(const Sequence& s) { return std::max<int64_t>(1, (s.keys + kKeysOfPart - 1) / kKeysOfPart); }

Plan plan_tasks(const Problem& p) {
  Plan plan;
  for (int64_t b = 0; b < p.batch; ++b) {
    const Sequence s(p, b);
    if (s.queries == 0) continue;
    if (s.queries <= kFewQueries) {
      for (int64_t h = 0; h < p.k.heads; ++h) {
        for (int64_t part = 0; part < parts_of(s); ++part) {
          const int64_t from = part * kKeysOfPart;
          plan.tasks.push_back({b, h, 0, p.group * s.cost(p, 0, s.queries, from, from + kKeysOfPart), part, plan.partial_rows});
          plan.partial_rows += p.group * s.queries;
        }
      }
      continue;
    }
    for (int64_t h = 0; h < p.heads; ++h)
      for (int64_t i = 0; i < s.queries; i += kQueries)
        plan.tasks.push_back({b, h, i, s.cost(p, i, std::min(s.queries, i + kQueries), 0, s.keys), -1, 0});
  }
  for (const Task& task : plan.tasks) plan.cost += task.cost;
  // Long tasks first: the last ones to finish are then short. Which thread computes a task does not change its result.
  std::stable_sort(plan.tasks.begin(), plan.tasks.end(), [](const Task& a, const Task& b) { return a.cost > b.cost; });
  return plan;
}

// What one thread works in.
struct Work {
  float *query_rows, *queries;  // [kQueries][dim], [dim][kQueries]
  float *keys, *values;         // [kKeys][dim], [kKeys][value dim]
  float *scores, *sums;         // [kKeys][kQueries], [value dim][kQueries]
  float *most, *total, *decay;  // [kQueries]
  MaskScratch mask;

  static int64_t floats(int64_t dim, int64_t value_dim) {
    return 2 * kQueries * dim + kKeys * (dim + value_dim) + kKeys * kQueries + value_dim * kQueries + 3 * kQueries + MaskScratch::kFloats;
  }
  Work(float* at, int64_t dim, int64_t value_dim) {
    const auto take = [&at](int64_t n) { return std::exchange(at, at + n); };
    query_rows = take(kQueries * dim);
    queries = take(kQueries * dim);
    keys = take(kKeys * dim);
    values = take(kKeys * value_dim);
    scores = take(kKeys * kQueries);
    sums = take(value_dim * kQueries);
    most = take(kQueries);
    total = take(kQueries);
    decay = take(kQueries);
    mask = {take(kQueries * kKeys), take(kQueries * kKeys)};
  }
};

// scores -> weights 2^(score - most); most, total and decay (what earlier sums shrink by) follow.
void update_softmax(float* scores, int64_t keys, int64_t ld, const Work& w) {
  for (int64_t i = 0; i < ld; i += kLanes) {
    float* column = scores + i;
    const Vec before = load(w.most + i);
    Vec most[4] = {before, before, before, before};
    int64_t j = 0;
    for (; j + 4 <= keys; j += 4)
      for (int u = 0; u < 4; ++u) most[u] = larger(load(column + (j + u) * ld), most[u]);
    for (; j < keys; ++j) most[0] = larger(load(column + j * ld), most[0]);
    const Vec now = larger(larger(most[0], most[1]), larger(most[2], most[3]));
    const Vec base = now == -kInfinity ? Vec{} : now;
    Vec sum{};
    for (j = 0; j < keys; ++j) {
      const Vec weight = exp2(load(column + j * ld) - base);
      sum += weight;
      store(column + j * ld, weight);
    }
    const Vec decay = exp2(before - base);
    store(w.most + i, now);
    store(w.decay + i, decay);
    store(w.total + i, load(w.total + i) * decay + sum);
  }
}

template <class T>
void run_block_task(const attention_args& a, const Problem& p, const Rows& v, const Rows& output, const Task& task, const Work& w) {
  const Sequence s(p, task.b);
  const int64_t queries = std::min(kQueries, s.queries - task.begin), ld = round_up(queries, kLanes);
  const int64_t dim = p.q.dim, padded_dim = round_up(dim, kLanes), value_dim = v.dim, padded = round_up(value_dim, kLanes);
  const int64_t kv_head = task.head / p.group;
  load_rows(p.q.at<const T>(s.b, task.begin, task.head), p.q.row_stride, queries, ld, dim, padded_dim, p.scale * kLog2E, w.query_rows);
  transpose(w.query_rows, padded_dim, ld, padded_dim, w.queries, ld);
  for (int64_t i = 0; i < ld; ++i) w.most[i] = -kInfinity, w.total[i] = 0.0f;
  Span found[2];
  const int spans = s.spans(p, task.begin, task.begin + queries, 0, s.keys, found);
  bool first = true;
  for (int at = 0; at < spans; ++at) {
    for (int64_t key = found[at].begin; key < found[at].end; key += kKeys) {
      const int64_t keys = std::min(kKeys, found[at].end - key);
      const Block block = {s, task.head, task.begin, queries, key, keys, ld, found[at].free};
      if (std::is_same_v<T, float> && p.k.run(key, keys) == keys) {
        multiply<Into::assign>(keys, ld, dim, p.k.at<const float>(s.b, key, kv_head), p.k.row_stride, 1, w.queries, ld, w.scores, ld);
      } else {
        load_rows_of<T>(p.k, s.b, key, keys, kv_head, padded_dim, w.keys);
        multiply<Into::assign>(keys, ld, dim, w.keys, padded_dim, 1, w.queries, ld, w.scores, ld);
      }
      mask_scores(p, block, w.mask, w.scores);
      update_softmax(w.scores, keys, ld, w);
      if (a.dropout > 0.0f) {
        dropout_factors(p, block, a.dropout, a.seed, a.counter, w.mask);
        for (int64_t n = 0; n < keys * ld; n += kLanes) store(w.scores + n, load(w.scores + n) * load(w.mask.columns + n));
      }
      // Copied even in f32: rows that are a power of two apart share a few sets of the cache, and each is read value_dim / 6 times.
      load_rows_of<T>(v, s.b, key, keys, kv_head, padded, w.values);
      if (first)
        multiply<Into::assign>(value_dim, ld, keys, w.values, 1, padded, w.scores, ld, w.sums, ld);
      else
        multiply<Into::scale_and_add>(value_dim, ld, keys, w.values, 1, padded, w.scores, ld, w.sums, ld, w.decay);
      first = false;
    }
  }
  float* rows = w.values;
  if (first)
    std::memset(rows, 0, static_cast<size_t>(queries * padded) * sizeof(float));
  else
    transpose(w.sums, ld, padded, ld, rows, padded);
  float* log_sum_exp = a.log_sum_exp.as<float>() + (p.q.row(s.b) + task.begin) * p.heads + task.head;
  for (int64_t i = 0; i < queries; ++i) {
    const float total = w.total[i];
    store_row(rows + i * padded, value_dim, total == 0.0f ? 0.0f : 1.0f / total, output.at<T>(s.b, task.begin + i, task.head));
    log_sum_exp[i * p.heads] = total == 0.0f ? -kInfinity : w.most[i] * kLn2 + std::log(total);
  }
}

// Lengths and pages come from the device, like indices.
Status check_cache(const attention_args& a, const Problem& p) {
  for (int64_t b = 0; a.cache_lengths && b < p.batch; ++b)
    if (p.k.lengths[b] < 0 || p.k.lengths[b] > p.max_k)
      return index_error("cache_lengths", a.cache_lengths, b, p.max_k + 1, p.k.lengths[b]);
  for (int64_t b = 0; a.block_table && b < p.batch; ++b) {
    const Sequence s(p, b);
    if (s.queries == 0) continue;
    Span found[2];
    for (int i = 0, spans = s.spans(p, 0, s.queries, 0, s.keys, found); i < spans; ++i)
      for (int64_t at = found[i].begin / p.k.page_size; at <= (found[i].end - 1) / p.k.page_size; ++at) {
        const int64_t entry = b * p.k.width + at, page = p.k.table[entry];
        if (page < 0 || page >= a.k.dims[0]) return index_error("block_table", a.block_table, entry, a.k.dims[0], page);
      }
  }
  return Status::ok();
}

template <class T>
Status run(Context& context, const attention_args& a) {
  Problem p(a);
  p.k.read_cache(a.cache_lengths, a.block_table);
  Rows v(a.v, &a.k_offsets);
  v.read_cache(a.cache_lengths, a.block_table);
  TILEWISE_RETURN_IF_ERROR(p.check("attention"));
  TILEWISE_RETURN_IF_ERROR(check_cache(a, p));
  const Rows output(a.output, &a.q_offsets);
  const Plan plan = plan_tasks(p);
  const int64_t tasks = static_cast<int64_t>(plan.tasks.size());
  if (tasks == 0) return Status::ok();
  const int64_t padded_dim = round_up(p.q.dim, kLanes), padded = round_up(v.dim, kLanes);
  const int64_t few_rows = p.group * kFewQueries;
  const int64_t per_thread = round_up(std::max(Work::floats(padded_dim, padded), few_rows * padded_dim), 16);
  const int threads = thread_count(tasks, plan.cost * (p.q.dim + v.dim));
  void* memory;
  const int64_t partial_floats = round_up(plan.partial_rows * 2, 16) + plan.partial_rows * padded;
  TILEWISE_RETURN_IF_ERROR(context.scratch(static_cast<size_t>(threads * per_thread + partial_floats) * sizeof(float), &memory));
  float* const scratch = static_cast<float*>(memory);
  Partial* const partials = reinterpret_cast<Partial*>(scratch + threads * per_thread);
  float* const values = scratch + threads * per_thread + round_up(plan.partial_rows * 2, 16);
#pragma omp parallel num_threads(threads)
  {
    float* const mine = scratch + omp_get_thread_num() * per_thread;
#pragma omp for schedule(dynamic, 1)
    for (int64_t t = 0; t < tasks; ++t) {
      const Task& task = plan.tasks[t];
      if (task.part < 0) {
        run_block_task<T>(a, p, v, output, task, Work(mine, padded_dim, padded));
        continue;
      }
      const Sequence s(p, task.b);
      for (int64_t h = 0; h < p.group; ++h)
        load_rows(p.q.at<const T>(s.b, 0, task.head * p.group + h), p.q.row_stride, s.queries, s.queries, p.q.dim, padded_dim,
                  p.scale * kLog2E, mine + h * s.queries * padded_dim);
      decode_part<T>(p, v, s, task.head, task.part * kKeysOfPart, (task.part + 1) * kKeysOfPart, {a.dropout, a.seed, a.counter}, mine,
                     padded_dim, partials + task.row, values + task.row * padded, padded);
    }
#pragma omp for schedule(static)
    for (int64_t t = 0; t < tasks; ++t) {
      const Task& task = plan.tasks[t];
      if (task.part != 0) continue;
      const Sequence s(p, task.b);
      const int64_t rows = p.group * s.queries;
      for (int64_t r = 0; r < rows; ++r) {
        float* const row = values + (task.row + r) * padded;
        const Partial whole = join_parts(partials + task.row + r, row, parts_of(s), rows, rows * padded, v.dim);
        const int64_t head = task.head * p.group + r / s.queries, i = r % s.queries;
        store_row(row, v.dim, whole.sum == 0.0f ? 0.0f : 1.0f / whole.sum, output.at<T>(s.b, i, head));
        a.log_sum_exp.as<float>()[(p.q.row(s.b) + i) * p.heads + head] =
            whole.sum == 0.0f ? -kInfinity : whole.most * kLn2 + std::log(whole.sum);
      }
    }
  }
  return Status::ok();
}

}  // namespace

Status attention(Context& context, const attention_args& a) {
  if (a.q.dtype == DType::f32) return run<float>(context, a);
  if (a.q.dtype == DType::bf16) return run<bf16>(context, a);
  return unsupported(std::string("attention of dtype ") + name_of(a.q.dtype));
}

}  // namespace tilewise::cpu::TILEWISE_ISA
