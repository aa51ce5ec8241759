// Cross entropy from logits, each read once. The probabilities are never stored: forward leaves each row's log-sum-exp, from a running
// maximum and sum over the classes, and backward recomputes them from it.
#include "../prim/row_index.cuh"
#include "../prim/softmax.cuh"

namespace tilewise::TILEWISE_GPU {
namespace {

constexpr int kPieces = 4;           // of 16 bytes that a thread loads at a time
constexpr int kBlockThreads = 256;   // the most of a block that has a row: four of them have registers for two tiles a thread
constexpr int kFinishThreads = 512;  // of the blocks that add up rows, or class weights

enum class Reduction : int32_t { none, mean, sum };

// Where the probability of a row's label lies: `hit` on the target, `smooth` times its weight on every class.
struct Labels {
  const int32_t* targets;
  const float* weight;        // [classes], null: 1 for every class
  const float* total_weight;  // [1], of all classes; null: their number
  int32_t ignored;
  int classes;
  float hit, smooth;

  __device__ __forceinline__ bool counts(int32_t target) const { return target != ignored && target >= 0 && target < classes; }
  __device__ __forceinline__ float weight_of(int64_t index) const { return weight ? load_constant(weight + index)[0] : 1.0f; }
  __device__ __forceinline__ float total() const { return total_weight ? load_constant(total_weight)[0] : static_cast<float>(classes); }
};

// A row in 16-byte pieces, and the elements before and behind them where it does not start or end at one.
template <class T, int N>
struct RowSpan {
  int head, pieces, tail;

  __device__ __forceinline__ RowSpan(const T* row, int n) {
    const int before = static_cast<int>((16 - reinterpret_cast<uintptr_t>(row) % 16) % 16 / sizeof(T));
    head = N == 1 ? 0 : before < n ? before : n;
    pieces = (n - head) / N;
    tail = n - head - pieces * N;
  }
};

template <class T>
struct Forward {
  const T* logits;
  Labels labels;
  float *losses, *statistics;  // [rows], [rows, 2]
  int64_t rows;
  int width;
  DeviceFault* fault;
};

// What a thread has seen of a row. below: sum of weight * (pivot - logit).
struct RowSums {
  Exponentials exponentials;
  float pivot, below;

  template <class T, int N, int K, class Team>
  __device__ __forceinline__ void add(const Labels& labels, const Team& team, int first, int from, int pieces,
                                      const Packed<T, N> (&packed)[K]) {
    float top = -INFINITY;
#pragma unroll
    for (int k = 0; k < K; ++k) {
      if (from + team.member + k * team.width >= pieces) continue;
      const Vec<T, N> x = packed[k].unpack();
#pragma unroll
      for (int i = 0; i < N; ++i) top = Max::join(top, static_cast<float>(x[i]));
    }
    float total = 0.0f;
#pragma unroll
    for (int k = 0; k < K; ++k) {
      const int at = from + team.member + k * team.width;
      if (at >= pieces) continue;
      const Vec<T, N> x = packed[k].unpack();
#pragma unroll
      for (int i = 0; i < N; ++i) {
        const float value = static_cast<float>(x[i]);
        if (top != -INFINITY) total += exp_approx(value - top);
        if (labels.smooth > 0.0f) below += labels.weight_of(first + at * N + i) * (pivot - value);
      }
    }
    exponentials.join({top, total});
  }
};

template <class T, int N, int K, bool kBlock>
__global__ void __launch_bounds__(kBlock ? kBlockThreads : kLaneRowThreads, kBlock ? 4 : 8)
    cross_entropy_rows(const __grid_constant__ Forward<T> a) {
  const RowTeam<kBlock> team(a.width);
  const int64_t row = int64_t{blockIdx.x} * team.slots() + team.slot;
  const T* const x = a.logits + row * a.labels.classes;
  const RowSpan<T, N> span(x, row < a.rows ? a.labels.classes : 0);
  const int32_t target = row < a.rows ? load_constant(a.labels.targets + row)[0] : a.labels.ignored;
  // A block asks for its first tile before it knows whether the row counts, and then for the next one before it uses one.
  Packed<T, N> tile[K];
  if constexpr (kBlock) load_tile(team, x + span.head, 0, span.pieces, tile);
  const bool counts = a.labels.counts(target);
  RowSums sums = {{-INFINITY, 0.0f}, counts ? static_cast<float>(load_constant(x + target)[0]) : 0.0f, 0.0f};
  const int read = counts ? span.pieces : 0, step = K * team.width;
  if constexpr (kBlock && N > 1) {
    Packed<T, 1> head[1] = {}, tail[1] = {};
    const int behind = span.head + span.pieces * N;
    load_tile(team, x, 0, counts ? span.head : 0, head);
    load_tile(team, x + behind, 0, counts ? span.tail : 0, tail);
    sums.add(a.labels, team, 0, 0, counts ? span.head : 0, head);
    sums.add(a.labels, team, behind, 0, counts ? span.tail : 0, tail);
  }
  if constexpr (!kBlock) load_tile(team, x, 0, read, tile);
  for (int from = 0; from < (kBlock ? read : 1); from += step) {
    Packed<T, N> next[K];
    if constexpr (kBlock) load_tile(team, x + span.head, from + step, read, next);
    sums.add(a.labels, team, span.head, from, read, tile);
    if constexpr (kBlock) {
#pragma unroll
      for (int k = 0; k < K; ++k) tile[k] = next[k];
    }
  }
  const float top = team.template reduce<Max>(sums.exponentials.top);
  float totals[2] = {sums.exponentials.total_at(top), sums.below};
  team.template reduce<Add>(totals);
  if (row >= a.rows || team.member != 0) return;
  float loss = 0.0f, log_total = 0.0f;
  if (counts) {
    log_total = top == -INFINITY ? 0.0f : logf(totals[0]);
    const float distance = (top - sums.pivot) + log_total;  // -log of the target's probability
    loss = a.labels.hit * a.labels.weight_of(target) * distance;
    if (a.labels.smooth > 0.0f) loss += a.labels.smooth * (totals[1] + a.labels.total() * distance);
    if (sums.pivot == -INFINITY && top == top) loss = INFINITY;  // the target is impossible, or every class is
  } else if (target != a.labels.ignored) {
    report_fault(a.fault, 0, row, target);
  }
  store_float(a.losses + row, loss);
  store_float(a.statistics + 2 * row, counts ? top : 0.0f);
  store_float(a.statistics + 2 * row + 1, log_total);
}

// The weights of all classes.
__global__ void __launch_bounds__(kFinishThreads) add_class_weights(const float* weight, int classes, float* total) {
  float sum = 0.0f;
  for (int i = threadIdx.x; i < classes; i += kFinishThreads) sum += load_constant(weight + i)[0];
  sum = block_reduce<Add>(sum);
  if (threadIdx.x == 0) store_float(total, sum);
}

struct Finish {
  Labels labels;
  const float* losses;
  float *loss, *total;
  int64_t rows;
  Reduction reduction;
  float normalizer;
};

// The rows' losses and weights, added in f64: one block, so that rows are added in a fixed order.
__global__ void __launch_bounds__(kFinishThreads) cross_entropy_finish(const __grid_constant__ Finish a) {
  SHARED_ARRAY(double, sums, 2 * kFinishThreads);
  const int thread = static_cast<int>(threadIdx.x);
  double sum = 0.0, weights = 0.0;
  if (a.reduction != Reduction::none) {
    constexpr int kDeep = 8;
    for (int64_t first = thread; first < a.rows; first += kDeep * kFinishThreads) {
      int32_t targets[kDeep];
      float losses[kDeep];
#pragma unroll
      for (int d = 0; d < kDeep; ++d) {
        const int64_t row = min(first + d * kFinishThreads, a.rows - 1);
        targets[d] = load_constant(a.labels.targets + row)[0];
        losses[d] = load_constant(a.losses + row)[0];
      }
#pragma unroll
      for (int d = 0; d < kDeep; ++d) {
        if (first + d * kFinishThreads >= a.rows) break;
        sum += losses[d];
        if (a.labels.counts(targets[d])) weights += a.labels.weight_of(targets[d]);
      }
    }
  }
  sums[thread] = sum;
  sums[kFinishThreads + thread] = weights;
  __syncthreads();
  for (int half = kFinishThreads / 2; half > 0; half /= 2) {
    if (thread < half) {
      sums[thread] += sums[thread + half];
      sums[kFinishThreads + thread] += sums[kFinishThreads + thread + half];
    }
    __syncthreads();
  }
  if (thread != 0) return;
  float total = 1.0f;
  if (a.reduction == Reduction::mean) total = a.normalizer > 0.0f ? a.normalizer : static_cast<float>(sums[kFinishThreads]);
  store_float(a.total, total);
  // Nothing that counts: 0, where PyTorch's mean is NaN.
  if (a.reduction != Reduction::none) store_float(a.loss, total == 0.0f ? 0.0f : static_cast<float>(sums[0] / static_cast<double>(total)));
}

template <class T>
struct Backward {
  const T* logits;
  T* dlogits;
  Labels labels;
  const float *dloss, *statistics, *total;
  int64_t rows;
  int width;
  bool each;  // a dloss a row
};

// dlogits = scale * (own * (p - [class == target]) + smooth * (p * total_weight - weight)), own = hit * weight[target]
struct RowGradient {
  float top, log_total, mass, smooth, hit;  // hit: that of the target
  int target;
  bool zero;

  __device__ __forceinline__ float probability(float logit) const { return exp_approx((logit - top) - log_total); }

  template <class T, int N, int K, class Team>
  __device__ __forceinline__ void store_tile(const Labels& labels, const Team& team, int first, int from, int pieces,
                                             const Packed<T, N> (&packed)[K], T* to) const {
#pragma unroll
    for (int k = 0; k < K; ++k) {
      const int at = from + team.member + k * team.width;
      if (at >= pieces) continue;
      const Vec<T, N> x = packed[k].unpack();
      Vec<T, N> dx;
#pragma unroll
      for (int i = 0; i < N; ++i) {
        const int column = first + at * N + i;
        float value = 0.0f;
        if (!zero) {
          value = mass * probability(static_cast<float>(x[i]));
          if (smooth != 0.0f) value -= smooth * labels.weight_of(column);
          if (column == target) value = hit;
        }
        dx[i] = T(value);
      }
      store(to + int64_t{at} * N, dx);
    }
  }
};

template <class T, int N, int K, bool kBlock>
__global__ void __launch_bounds__(kBlock ? kBlockThreads : kLaneRowThreads, kBlock ? 4 : 8)
    cross_entropy_gradient(const __grid_constant__ Backward<T> a) {
  const RowTeam<kBlock> team(a.width);
  const int64_t row = int64_t{blockIdx.x} * team.slots() + team.slot;
  if (row >= a.rows) return;
  const T* const x = a.logits + row * a.labels.classes;
  T* const dx = a.dlogits + row * a.labels.classes;
  const RowSpan<T, N> span(x, a.labels.classes);
  const int32_t target = load_constant(a.labels.targets + row)[0];
  const float total = load_constant(a.total)[0];
  Packed<T, N> tile[K];
  if constexpr (kBlock) load_tile(team, x + span.head, 0, span.pieces, tile);
  RowGradient gradient{};
  gradient.top = load_constant(a.statistics + 2 * row)[0];
  gradient.zero = !a.labels.counts(target) || total == 0.0f || gradient.top == -INFINITY;
  if (!gradient.zero) {
    gradient.log_total = load_constant(a.statistics + 2 * row + 1)[0];
    gradient.target = target;
    const float scale = load_constant(a.dloss + (a.each ? row : 0))[0] / total;
    const float weight = a.labels.weight_of(target), own = a.labels.hit * weight, total_weight = a.labels.total();
    gradient.mass = scale * (own + a.labels.smooth * total_weight);
    gradient.smooth = scale * a.labels.smooth;
    // Term by term: where the target is all but certain, or the only class, the difference of the sums would be their rounding error.
    const float p = gradient.probability(static_cast<float>(load_constant(x + target)[0]));
    gradient.hit = scale * own * (p - 1.0f) + gradient.smooth * (total_weight * p - weight);
  }
  const int read = gradient.zero ? 0 : span.pieces, step = K * team.width;
  if constexpr (kBlock && N > 1) {
    const int behind = span.head + span.pieces * N;
    Packed<T, 1> head[1] = {}, tail[1] = {};
    load_tile(team, x, 0, gradient.zero ? 0 : span.head, head);
    load_tile(team, x + behind, 0, gradient.zero ? 0 : span.tail, tail);
    gradient.store_tile(a.labels, team, 0, 0, span.head, head, dx);
    gradient.store_tile(a.labels, team, behind, 0, span.tail, tail, dx + behind);
  }
  if constexpr (!kBlock) load_tile(team, x, 0, read, tile);
  for (int from = 0; from < (kBlock ? span.pieces : 1); from += step) {
    Packed<T, N> next[K];
    if constexpr (kBlock) load_tile(team, x + span.head, from + step, read, next);
    gradient.store_tile(a.labels, team, span.head, from, span.pieces, tile, dx + span.head);
    if constexpr (kBlock) {
#pragma unroll
      for (int k = 0; k < K; ++k) tile[k] = next[k];
    }
  }
}

Status too_large(const View& logits) { return unsupported("cross entropy of " + logits.shape_string()); }

// class_weight's sum is only needed where labels are smoothed.
Status make_labels(Context& context, const View& logits, const View& targets, const View& class_weight, int32_t ignore_index,
                   float smoothing, Labels* labels) {
  const int64_t classes = logits.last();
  *labels = Labels{targets.as<const int32_t>(),
                   class_weight ? class_weight.as<const float>() : nullptr,
                   nullptr,
                   ignore_index,
                   static_cast<int>(classes),
                   1.0f - smoothing,
                   classes > 0 ? smoothing / static_cast<float>(classes) : 0.0f};
  if (!class_weight || smoothing == 0.0f) return Status::ok();
  void* total;
  TILEWISE_RETURN_IF_ERROR(context.scratch(sizeof(float), &total));
  labels->total_weight = static_cast<const float*>(total);
  return launch(gpu_of(context), LaunchShape{"add_class_weights", dim3(1), dim3(kFinishThreads)}, add_class_weights, labels->weight,
                labels->classes, static_cast<float*>(total));
}

// Lanes of a warp where rows are short and made of 16-byte pieces, else blocks: of pieces, if they may, or of single elements.
template <class T>
RowPlan plan_rows(int64_t classes, bool aligned) {
  RowPlan plan(classes, sizeof(T), kPieces, aligned);
  if (plan.kind == RowPlan::Kind::lanes) return plan;
  const int64_t threads = (classes / kVector<T> + kPieces - 1) / kPieces, warps = (threads + kWarpSize - 1) / kWarpSize;
  plan.width = static_cast<int>(min(max(warps, int64_t{1}) * kWarpSize, int64_t{kBlockThreads}));
  plan.kind = RowPlan::Kind::block;
  return plan;
}

}  // namespace

Status cross_entropy(Context& context, const cross_entropy_args& a) {
  const int64_t rows = a.logits.rows(), classes = a.logits.last();
  if (rows > 0x7fffffff || classes > 0x3fffffff) return too_large(a.logits);
  const auto reduction = static_cast<Reduction>(a.reduction);
  const Gpu& gpu = gpu_of(context);
  Labels labels;
  TILEWISE_RETURN_IF_ERROR(make_labels(context, a.logits, a.targets, a.class_weight, a.ignore_index, a.label_smoothing, &labels));
  void* losses = a.loss.data;
  if (reduction != Reduction::none) TILEWISE_RETURN_IF_ERROR(context.scratch(static_cast<size_t>(rows) * sizeof(float), &losses));
  TILEWISE_RETURN_IF_ERROR(dispatch_float(a.logits.dtype, [&](auto type) {
    using T = decltype(type);
    const RowPlan plan = plan_rows<T>(classes, aligned16(a.logits.data));
    const Forward<T> p{a.logits.as<const T>(), labels, static_cast<float*>(losses), a.log_sum_exp.as<float>(), rows, plan.width, gpu.fault};
    const auto kernel = plan.kind == RowPlan::Kind::lanes ? cross_entropy_rows<T, kVector<T>, kPieces, false>
                                                          : cross_entropy_rows<T, kVector<T>, kPieces, true>;
    return launch(gpu, LaunchShape{"cross_entropy", plan.grid(rows), dim3(static_cast<unsigned>(plan.threads()))}, kernel, p);
  }));
  const Finish p{labels, static_cast<const float*>(losses), a.loss.as<float>(), a.total.as<float>(), rows, reduction, a.normalizer};
  return launch(gpu, LaunchShape{"cross_entropy_finish", dim3(1), dim3(kFinishThreads)}, cross_entropy_finish, p);
}

Status cross_entropy_backward(Context& context, const cross_entropy_backward_args& a) {
  const int64_t rows = a.logits.rows(), classes = a.logits.last();
  if (rows == 0 || classes == 0) return Status::ok();
  if (rows > 0x7fffffff || classes > 0x3fffffff) return too_large(a.logits);
  Labels labels;
  TILEWISE_RETURN_IF_ERROR(make_labels(context, a.logits, a.targets, a.class_weight, a.ignore_index, a.label_smoothing, &labels));
  return dispatch_float(a.logits.dtype, [&](auto type) {
    using T = decltype(type);
    const auto misaligned = [](const View& view) { return reinterpret_cast<uintptr_t>(view.data) % 16; };
    const bool aligned = misaligned(a.logits) == 0 && misaligned(a.dlogits) == 0;
    const RowPlan plan = plan_rows<T>(classes, aligned);
    const Backward<T> p{a.logits.as<const T>(),
                        a.dlogits.as<T>(),
                        labels,
                        a.dloss.as<const float>(),
                        a.log_sum_exp.as<const float>(),
                        a.total.as<const float>(),
                        rows,
                        plan.width,
                        static_cast<Reduction>(a.reduction) == Reduction::none};
    // Pieces start at the same elements of both.
    const auto kernel = plan.kind == RowPlan::Kind::lanes               ? cross_entropy_gradient<T, kVector<T>, kPieces, false>
                        : misaligned(a.logits) == misaligned(a.dlogits) ? cross_entropy_gradient<T, kVector<T>, kPieces, true>
                                                                        : cross_entropy_gradient<T, 1, kPieces, true>;
    return launch(gpu_of(context), LaunchShape{"cross_entropy_backward", plan.grid(rows), dim3(static_cast<unsigned>(plan.threads()))},
                  kernel, p);
  });
}

}  // namespace tilewise::TILEWISE_GPU
