// Adam (Kingma and Ba, 2015) and AdamW (Loshchilov and Hutter, 2019) over many tensors in one launch: 28 bytes a parameter move, 32 with
// gradients cleared.
#include "../prim/tensor_list.cuh"

namespace tilewise::TILEWISE_GPU {
namespace {

constexpr int kThreads = 256;

struct alignas(16) Parameter {
  void* param;
  float* gradient;
  float* first;
  float* second;
  float* master;  // none: null
  float* step;
  int64_t count;
  int32_t first_piece;
  DType dtype;
  bool vectors;  // all of them are aligned for four elements
};

// What is the same for all elements of a tensor.
struct Coefficients {
  float beta1, beta2, rest1, rest2;  // rest = 1 - beta
  float shrink;                      // decoupled decay: 1 - rate * weight_decay
  float decay;                       // L2 decay, added to the gradient
  float step_size;                   // rate / (1 - beta1^t)
  float correction2;                 // 1 / sqrt(1 - beta2^t)
  float eps;
};

struct Hyper {
  float rest1, rest2, eps, weight_decay;
  bool decoupled;
};

// Counts the steps, a thread a tensor.
__global__ void __launch_bounds__(kThreads)
    adamw_prepare(const Parameter* table, int count, const float* rate_at, Hyper hyper, Coefficients* coefficients) {
  const int i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= count) return;
  const float rate = load_float(rate_at), step = load_float(table[i].step) + 1.0f;
  store_float(table[i].step, step);
  // 1 - beta^t without the cancellation.
  const double left1 = -expm1(step * log1p(-static_cast<double>(hyper.rest1)));
  const double left2 = -expm1(step * log1p(-static_cast<double>(hyper.rest2)));
  Coefficients c;
  c.beta1 = static_cast<float>(1.0 - hyper.rest1);
  c.beta2 = static_cast<float>(1.0 - hyper.rest2);
  c.rest1 = hyper.rest1;
  c.rest2 = hyper.rest2;
  c.shrink = hyper.decoupled ? 1.0f - rate * hyper.weight_decay : 1.0f;
  c.decay = hyper.decoupled ? 0.0f : hyper.weight_decay;
  c.step_size = static_cast<float>(rate / left1);
  c.correction2 = static_cast<float>(1.0 / sqrt(left2));
  c.eps = hyper.eps;
  coefficients[i] = c;
}

// A first moment this small belongs to gradients whose squares f32 does not hold; it would fade into subnormal numbers.
constexpr float kFaded = 0x1p-100f;

template <int N, class T>
__device__ __forceinline__ void update(const Parameter& p, const Coefficients& c, int64_t at, bool clear) {
  constexpr bool kLow = !std::is_same_v<T, float>;
  T* const param = static_cast<T*>(p.param) + at;
  const bool has_master = kLow && p.master != nullptr;
  Vec<float, N> weight;
  if (has_master) {
    weight = load<N>(p.master + at);
  } else {
    const Vec<T, N> from = load<N>(param);
#pragma unroll
    for (int i = 0; i < N; ++i) weight[i] = static_cast<float>(from[i]);
  }
  const Vec<float, N> gradient = load<N>(p.gradient + at);
  Vec<float, N> first = load<N>(p.first + at), second = load<N>(p.second + at);
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const float w = weight[i], g = gradient[i] + c.decay * w;
    float m = c.beta1 * first[i] + c.rest1 * g;
    float v = c.beta2 * second[i] + c.rest2 * g * g;
    const bool faded = m > -kFaded && m < kFaded;
    m = faded ? 0.0f : m;
    v = faded && v < kFaded ? 0.0f : v;
    first[i] = m;
    second[i] = v;
    const float change = c.step_size * m / (sqrtf(v) * c.correction2 + c.eps);
    weight[i] = w * c.shrink - (m == 0.0f ? 0.0f : change);  // 0 / 0 with eps 0
  }
  store(p.first + at, first);
  store(p.second + at, second);
  if (has_master) store(p.master + at, weight);
  Vec<T, N> to;
#pragma unroll
  for (int i = 0; i < N; ++i) to[i] = T(weight[i]);
  store(param, to);
  if (clear) store(p.gradient + at, Vec<float, N>{});
}

template <class T>
__device__ __forceinline__ void update_piece(const Parameter& p, const Coefficients& c, int64_t from, int64_t to, bool clear) {
  const int64_t vectors_end = p.vectors ? to - (to - from) % 4 : from;
  for (int64_t at = from + 4 * threadIdx.x; at < vectors_end; at += 4 * kThreads) update<4, T>(p, c, at, clear);
  for (int64_t at = vectors_end + threadIdx.x; at < to; at += kThreads) update<1, T>(p, c, at, clear);
}

__global__ void __launch_bounds__(kThreads) adamw_update(const Parameter* table, const Coefficients* coefficients, int count, bool clear) {
  const int entry = entry_of_piece(table, count, blockIdx.x);
  const Parameter p = table[entry];
  const Coefficients c = coefficients[entry];
  const int64_t from = (static_cast<int64_t>(blockIdx.x) - p.first_piece) * kPiece;
  const int64_t to = p.count < from + kPiece ? p.count : from + kPiece;
  if (p.dtype == DType::f32)
    update_piece<float>(p, c, from, to, clear);
  else if (p.dtype == DType::bf16)
    update_piece<bf16>(p, c, from, to, clear);
  else
    update_piece<f16>(p, c, from, to, clear);
}

}  // namespace

Status adamw(Context& context, const adamw_args& a) {
  const int count = a.params.count;
  for (const ViewList* list : {&a.grads, &a.first_moments, &a.second_moments, &a.steps})
    if (list->count != count) return Status::error(Code::invalid_argument, "lists of different lengths");
  if (a.masters.count != 0 && a.masters.count != count) return Status::error(Code::invalid_argument, "masters for some parameters only");
  if (count == 0) return Status::ok();
  int64_t pieces = 0;
  for (const View& param : a.params) pieces += pieces_of(param.count());
  if (pieces > 0x7fffffff) return unsupported("so many parameters at once");
  int64_t first_piece = 0;
  Parameter* table = nullptr;
  TILEWISE_RETURN_IF_ERROR(upload_table(
      context, count,
      [&](int i) {
        const View& param = a.params[i];
        Parameter p{};
        p.param = param.data;
        p.gradient = a.grads[i].as<float>();
        p.first = a.first_moments[i].as<float>();
        p.second = a.second_moments[i].as<float>();
        p.master = a.masters.count && param.dtype != DType::f32 ? a.masters[i].as<float>() : nullptr;
        p.step = a.steps[i].as<float>();
        p.count = param.count();
        p.first_piece = static_cast<int32_t>(first_piece);
        p.dtype = param.dtype;
        p.vectors = reinterpret_cast<uintptr_t>(p.param) % (4 * size_of(param.dtype)) == 0 && aligned16(p.gradient) && aligned16(p.first) &&
                    aligned16(p.second) && aligned16(p.master);
        first_piece += pieces_of(p.count);
        return p;
      },
      &table));
  void* memory = nullptr;
  TILEWISE_RETURN_IF_ERROR(context.scratch(sizeof(Coefficients) * static_cast<size_t>(count), &memory));
  auto* coefficients = static_cast<Coefficients*>(memory);
  const Gpu& gpu = gpu_of(context);
  const LaunchShape few{"adamw_prepare", dim3(static_cast<unsigned>((count + kThreads - 1) / kThreads)), dim3(kThreads)};
  const Hyper hyper{a.rest1, a.rest2, a.eps, a.weight_decay, a.decoupled != 0};
  TILEWISE_RETURN_IF_ERROR(launch(gpu, few, adamw_prepare, table, count, a.rate.as<const float>(), hyper, coefficients));
  const LaunchShape shape{"adamw", dim3(static_cast<unsigned>(pieces)), dim3(kThreads)};
  return launch(gpu, shape, adamw_update, table, coefficients, count, a.clear != 0);
}

}  // namespace tilewise::TILEWISE_GPU
