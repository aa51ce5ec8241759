// Adam (Kingma and Ba, 2015) and AdamW (Loshchilov and Hutter, 2019) over many tensors in one pass: 28 bytes a parameter move, 32 with
// gradients cleared, which is all the time it takes.
#include <cmath>

#include "../tensors.h"

namespace tilewise::cpu::TILEWISE_ISA {
namespace {

// What is the same for all elements of a tensor.
struct Coefficients {
  float beta1, beta2, rest1, rest2;  // rest = 1 - beta
  float shrink;                      // decoupled decay: 1 - rate * weight_decay
  float decay;                       // L2 decay, added to the gradient
  float step_size;                   // rate / (1 - beta1^t)
  float correction2;                 // 1 / sqrt(1 - beta2^t)
  float eps;
};

// Moments of parameters that get no gradient, such as the rows of rare tokens, fade into subnormal numbers and stay there (0.9 of the
// smallest rounds back to it): 30 times the time. A first moment this small belongs to gradients whose squares f32 does not hold.
constexpr float kFaded = 0x1p-100f;

// weight: the f32 parameter, or its master, of which low receives the rounded copy.
template <bool clear, class T>
void update(const Coefficients c, float* __restrict weight, float* __restrict gradient, float* __restrict first, float* __restrict second,
            T* __restrict low, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    float w;
    if constexpr (std::is_same_v<T, float>)
      w = weight[i];
    else
      w = weight ? weight[i] : static_cast<float>(low[i]);
    const float g = gradient[i] + c.decay * w;
    float m = c.beta1 * first[i] + c.rest1 * g;
    float v = c.beta2 * second[i] + c.rest2 * g * g;
    // No branches, short circuits included, and coefficients of its own: else the loop does not vectorize and takes seven times as long.
    const bool faded = std::fabs(m) < kFaded, both = faded & (v < kFaded);
    m = faded ? 0.0f : m;
    v = both ? 0.0f : v;
    first[i] = m;
    second[i] = v;
    const float by = std::sqrt(v) * c.correction2 + c.eps;
    w = w * c.shrink - c.step_size * m / (m == 0.0f ? 1.0f : by);  // 0 / 0 with eps 0
    if constexpr (std::is_same_v<T, float>) {
      weight[i] = w;
    } else {
      if (weight) weight[i] = w;
      low[i] = T(w);
    }
    if (clear) gradient[i] = 0.0f;
  }
}

template <class T>
void update_piece(const adamw_args& a, const Coefficients& c, const Piece& piece) {
  const int t = piece.tensor;
  float* weight = nullptr;
  T* low = nullptr;
  if constexpr (std::is_same_v<T, float>) {
    weight = a.params[t].as<float>() + piece.from;
  } else {
    low = a.params[t].as<T>() + piece.from;
    if (a.masters.count) weight = a.masters[t].as<float>() + piece.from;
  }
  float* gradient = a.grads[t].as<float>() + piece.from;
  float* first = a.first_moments[t].as<float>() + piece.from;
  float* second = a.second_moments[t].as<float>() + piece.from;
  if (a.clear)
    update<true>(c, weight, gradient, first, second, low, piece.count);
  else
    update<false>(c, weight, gradient, first, second, low, piece.count);
}

}  // namespace

Status adamw(Context& context, const adamw_args& a) {
  const int count = a.params.count;
  for (const ViewList* list : {&a.grads, &a.first_moments, &a.second_moments, &a.steps})
    if (list->count != count) return Status::error(Code::invalid_argument, "lists of different lengths");
  if (a.masters.count != 0 && a.masters.count != count) return Status::error(Code::invalid_argument, "masters for some parameters only");
  void* memory = nullptr;
  TILEWISE_RETURN_IF_ERROR(context.scratch(static_cast<size_t>(std::max(1, count)) * sizeof(Coefficients), &memory));
  auto* coefficients = static_cast<Coefficients*>(memory);
  Piece* pieces = nullptr;
  int64_t piece_count = 0;
  TILEWISE_RETURN_IF_ERROR(pieces_of(context, a.params, &pieces, &piece_count));
  // From here on nothing fails.
  const float rate = *a.rate.as<float>();
  const double beta1 = 1.0 - a.rest1, beta2 = 1.0 - a.rest2;
  for (int t = 0; t < count; ++t) {
    float* step = a.steps[t].as<float>();
    *step += 1.0f;
    Coefficients& c = coefficients[t];
    c.beta1 = static_cast<float>(beta1);
    c.beta2 = static_cast<float>(beta2);
    c.rest1 = a.rest1;
    c.rest2 = a.rest2;
    c.shrink = a.decoupled ? 1.0f - rate * a.weight_decay : 1.0f;
    c.decay = a.decoupled ? 0.0f : a.weight_decay;
    c.step_size = static_cast<float>(rate / (1.0 - std::pow(beta1, static_cast<double>(*step))));
    c.correction2 = static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(beta2, static_cast<double>(*step))));
    c.eps = a.eps;
  }
  parallel_for(piece_count, 2, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Coefficients& c = coefficients[pieces[i].tensor];
      switch (a.params[pieces[i].tensor].dtype) {
        case DType::f32:
          update_piece<float>(a, c, pieces[i]);
          break;
        case DType::bf16:
          update_piece<bf16>(a, c, pieces[i]);
          break;
        default:
          update_piece<f16>(a, c, pieces[i]);
          break;
      }
    }
  });
  return Status::ok();
}

}  // namespace tilewise::cpu::TILEWISE_ISA
