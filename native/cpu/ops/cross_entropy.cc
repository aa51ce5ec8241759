// Cross entropy from logits. The probabilities are never stored: forward leaves each row's log-sum-exp, backward recomputes them from it.
#include <cmath>

#include "../../core/index_error.h"
#include "../../core/scalar.h"
#include "../elementwise.h"
#include "../rows.h"

namespace tilewise::cpu::TILEWISE_ISA {
namespace {

enum class Reduction : int32_t { none, mean, sum };

// Where the probability of a row's label lies: `hit` on the target, `smooth` times its weight on every class.
struct Labels {
  const int32_t* targets;
  const float* weight;  // null: 1 for every class
  int32_t ignored;
  float hit, smooth;
  float total_weight;  // of all classes

  Labels(const View& logits, const View& target_view, const View& class_weight, int32_t ignore_index, float smoothing)
      : targets(target_view.as<int32_t>()), weight(class_weight ? class_weight.as<float>() : nullptr), ignored(ignore_index) {
    const int64_t classes = logits.last();
    hit = 1.0f - smoothing;
    smooth = classes > 0 ? smoothing / static_cast<float>(classes) : 0.0f;
    total_weight = weight ? sum_row(classes, [this](int64_t i) { return weight[i]; }) : static_cast<float>(classes);
  }
  bool counts(int64_t row) const { return targets[row] != ignored; }
  float weight_of(int64_t row) const { return weight ? weight[targets[row]] : 1.0f; }
};

Status check(const Labels& labels, int64_t rows, int64_t classes) {
  for (int64_t row = 0; row < rows; ++row) {
    const int32_t target = labels.targets[row];
    if (labels.counts(row) && (target < 0 || target >= classes)) return target_error(row, classes, labels.ignored, target);
  }
  return Status::ok();
}

// One pass over memory: pieces that fit into the first-level cache, the running maximum corrected from piece to piece.
// statistics: the maximum and the logarithm of the sum of exponentials beyond it.
template <class T>
float row_loss(const T* x, int64_t n, int32_t target, const Labels& labels, float* statistics) {
  constexpr int64_t kPiece = 4096;
  float top = -kInfinity, total = 0.0f, pivot = -kInfinity, below = 0.0f;  // below: sum of weight * (pivot - x)
  for (int64_t at = 0; at < n; at += kPiece) {
    const int64_t count = std::min(kPiece, n - at);
    const T* piece = x + at;
    const float* weight = labels.weight ? labels.weight + at : nullptr;
    const float here = max_row(count, [=](int64_t i) { return static_cast<float>(piece[i]); });
    if (here == -kInfinity) {
      below = kInfinity;
      continue;
    }
    if (pivot == -kInfinity) pivot = here;
    if (here > top || here != here) {
      total = total > 0.0f ? total * scalar::exp(top - here) : total;
      top = here;
    }
    total += sum_row(count, [=](int64_t i) { return scalar::exp(static_cast<float>(piece[i]) - top); });
    if (labels.smooth == 0.0f) continue;
    below += weight ? sum_row(count, [=](int64_t i) { return weight[i] * (pivot - static_cast<float>(piece[i])); })
                    : sum_row(count, [=](int64_t i) { return pivot - static_cast<float>(piece[i]); });
  }
  const float log_total = top == -kInfinity ? 0.0f : std::log(total);
  statistics[0] = top;
  statistics[1] = log_total;
  if (top == -kInfinity) return kInfinity;  // no class is possible
  const float own = labels.hit * (labels.weight ? labels.weight[target] : 1.0f);
  float loss = own * ((top - static_cast<float>(x[target])) + log_total);
  if (labels.smooth > 0.0f) loss += labels.smooth * (below + labels.total_weight * ((top - pivot) + log_total));
  return loss;
}

// dx = scale * (own * (p - [i == target]) + smooth * (p * total_weight - weight)), own = hit * weight[target]
template <class T>
void row_gradient(const T* x, T* dx, int64_t n, int32_t target, const Labels& labels, const float* statistics, float scale) {
  const float top = statistics[0], log_total = statistics[1], own = labels.hit * (labels.weight ? labels.weight[target] : 1.0f);
  const float mass = scale * (own + labels.smooth * labels.total_weight), smooth = scale * labels.smooth;
  const float* weight = labels.weight;
  const auto probability = [=](int64_t i) __attribute__((always_inline)) {
    return scalar::exp((static_cast<float>(x[i]) - top) - log_total);
  };
  if (weight && smooth != 0.0f) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) dx[i] = T(mass * probability(i) - smooth * weight[i]);
  } else {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) dx[i] = T(mass * probability(i) - smooth);
  }
  // Term by term: where the target is all but certain, or the only class, the difference of the sums would be their rounding error.
  const float hit = probability(target);
  dx[target] = T(scale * own * (hit - 1.0f) + smooth * (labels.total_weight * hit - (weight ? weight[target] : 1.0f)));
}

}  // namespace

Status cross_entropy(Context& context, const cross_entropy_args& a) {
  const int64_t rows = a.logits.rows(), classes = a.logits.last();
  const auto reduction = static_cast<Reduction>(a.reduction);
  const Labels labels(a.logits, a.targets, a.class_weight, a.ignore_index, a.label_smoothing);
  TILEWISE_RETURN_IF_ERROR(check(labels, rows, classes));
  void* memory = a.loss.data;
  if (reduction != Reduction::none) TILEWISE_RETURN_IF_ERROR(context.scratch(static_cast<size_t>(rows) * 4, &memory));
  float *losses = static_cast<float*>(memory), *statistics = a.log_sum_exp.as<float>();
  TILEWISE_RETURN_IF_ERROR(dispatch_float(a.logits.dtype, [&](auto type) {
    using T = decltype(type);
    parallel_for(rows, row_grain(classes), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        losses[row] = statistics[2 * row] = statistics[2 * row + 1] = 0.0f;
        if (labels.counts(row))
          losses[row] = row_loss(a.logits.as<T>() + row * classes, classes, labels.targets[row], labels, statistics + 2 * row);
      }
    });
    return Status::ok();
  }));
  float* total = a.total.as<float>();
  *total = 1.0f;
  if (reduction == Reduction::none) return Status::ok();
  double sum = 0.0, weights = 0.0;
  for (int64_t row = 0; row < rows; ++row) {
    if (!labels.counts(row)) continue;
    sum += losses[row];
    weights += labels.weight_of(row);
  }
  if (reduction == Reduction::mean) *total = a.normalizer > 0.0f ? a.normalizer : static_cast<float>(weights);
  // Nothing that counts: 0, where PyTorch's mean is NaN.
  *a.loss.as<float>() = *total == 0.0f ? 0.0f : static_cast<float>(sum / *total);
  return Status::ok();
}

Status cross_entropy_backward(Context&, const cross_entropy_backward_args& a) {
  const int64_t rows = a.logits.rows(), classes = a.logits.last();
  const bool each = static_cast<Reduction>(a.reduction) == Reduction::none;
  const Labels labels(a.logits, a.targets, a.class_weight, a.ignore_index, a.label_smoothing);
  const float *dloss = a.dloss.as<float>(), *statistics = a.log_sum_exp.as<float>(), total = *a.total.as<float>();
  return dispatch_float(a.logits.dtype, [&](auto type) {
    using T = decltype(type);
    parallel_for(rows, row_grain(classes), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        T* dx = a.dlogits.as<T>() + row * classes;
        if (labels.counts(row) && total != 0.0f && statistics[2 * row] != -kInfinity)
          row_gradient(a.logits.as<T>() + row * classes, dx, classes, labels.targets[row], labels, statistics + 2 * row,
                       (each ? dloss[row] : *dloss) / total);
        else
          std::fill(dx, dx + classes, T(0.0f));
      }
    });
    return Status::ok();
  });
}

}  // namespace tilewise::cpu::TILEWISE_ISA
