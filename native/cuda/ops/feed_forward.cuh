// y = dropout(act(x W1^T + b1)) W2^T + b2, and the gated form with hidden rows act(gate) * up: what lies between the products is in the
// epilogue of the first one, and of the first one back.
#include "../../core/feed_forward.h"
#include "../linear_gradient.h"

namespace tilewise::TILEWISE_GPU {
namespace {

struct Layer : FeedForward {
  using FeedForward::FeedForward;
  Status scratch(Context& context, int64_t elements, void** memory) const {
    return context.scratch(static_cast<size_t>(bytes(elements)), memory);
  }

  // What both products at the hidden rows share; `first` is the row of the whole that dropout counts from.
  GemmProblem product(int64_t row_count, int64_t n, int64_t k, int64_t first) const {
    GemmProblem p;
    p.dtype = dtype;
    p.m = row_count, p.n = n, p.k = k;
    GemmEpilogue& e = p.epilogue;
    e.columns = static_cast<int32_t>(hidden);
    e.activation = activation;
    e.gated = gated;
    e.dropout = dropout;
    e.seed = seed, e.counter = counter;
    e.first_row = first;
    return p;
  }
};

// Rows at a time: bounds the scratch memory, and fills any device many times over.
constexpr int64_t kRows = 8192;

}  // namespace

Status feed_forward(Context& context, const feed_forward_args& a) {
  const Layer l(a);
  const int64_t step = l.rows < kRows ? l.rows : kRows;
  const bool in_place = a.preactivation && l.stores_hidden();
  void* scratch = nullptr;
  if (!in_place) TILEWISE_RETURN_IF_ERROR(l.scratch(context, step * l.hidden, &scratch));
  for (int64_t first = 0; first < l.rows; first += step) {
    const int64_t rows = l.rows - first < step ? l.rows - first : step;
    char* const stored = l.at(a.preactivation, first * l.width);
    void* const hidden = in_place ? stored : scratch;
    GemmProblem p = l.product(rows, l.width, l.in, first);
    p.a = {l.at(a.x, first * l.in), l.in, 1};
    p.b = {a.weight1.data, l.in, 1};
    if (a.bias1) p.epilogue.bias = a.bias1.data, p.epilogue.bias_f32 = a.bias1.dtype == DType::f32;
    if (stored && !in_place) p.epilogue.preactivation = {stored, l.width};
    p.epilogue.outputs[0] = {hidden, l.hidden, l.hidden};
    TILEWISE_RETURN_IF_ERROR(gemm(context, p));

    GemmProblem last;
    last.dtype = l.dtype;
    last.m = rows, last.n = l.out, last.k = l.hidden;
    last.a = {hidden, l.hidden, 1};
    last.b = {a.weight2.data, l.hidden, 1};
    if (a.bias2) last.epilogue.bias = a.bias2.data, last.epilogue.bias_f32 = a.bias2.dtype == DType::f32;
    last.epilogue.outputs[0] = {l.at(a.y, first * l.out), l.out, l.out};
    TILEWISE_RETURN_IF_ERROR(gemm(context, last));
  }
  return Status::ok();
}

Status feed_forward_backward(Context& context, const feed_forward_backward_args& a) {
  const Layer l(a);
  const int64_t step = l.rows < kRows ? l.rows : kRows;
  const auto floats = [](const View& view) { return view ? view.as<float>() : nullptr; };
  // Biases of the last layer need no more than dy, its weights the hidden rows too, all else the gradient of the preactivation.
  const bool needs_first = a.dx || a.dweight1 || a.dbias1, makes_hidden = a.dweight2 && !l.stores_hidden();
  void *hidden = nullptr, *gradient = nullptr;
  if (makes_hidden) TILEWISE_RETURN_IF_ERROR(l.scratch(context, step * l.hidden, &hidden));
  if (needs_first || makes_hidden) TILEWISE_RETURN_IF_ERROR(l.scratch(context, step * l.width, &gradient));
  for (int64_t first = 0; first < l.rows; first += step) {
    const int64_t rows = l.rows - first < step ? l.rows - first : step;
    const char* const dy = l.at(a.dy, first * l.out);
    char* const preactivation = l.at(a.preactivation, first * l.width);
    if (needs_first || makes_hidden) {
      GemmProblem p = l.product(rows, l.hidden, l.out, first);
      p.a = {dy, l.out, 1};
      p.b = {a.weight2.data, 1, l.hidden};
      p.epilogue.at = {preactivation, l.width};
      if (makes_hidden) p.epilogue.hidden = {hidden, l.hidden};
      p.epilogue.outputs[0] = {gradient, l.width, l.width};
      TILEWISE_RETURN_IF_ERROR(gemm(context, p));
    }
    LinearGradient second;
    second.rows = rows, second.in = l.hidden, second.out = l.out;
    second.dtype = l.dtype;
    second.dy[0] = {dy, l.out, l.out};
    second.x = makes_hidden ? hidden : preactivation;
    second.dweight = floats(a.dweight2), second.dbias = floats(a.dbias2);
    TILEWISE_RETURN_IF_ERROR(linear_gradient(context, second));
    if (!needs_first) continue;
    LinearGradient one;
    one.rows = rows, one.in = l.in, one.out = l.width;
    one.dtype = l.dtype;
    one.dy[0] = {gradient, l.width, l.width};
    one.x = l.at(a.x, first * l.in);
    one.weight = a.weight1.data;
    one.dx = l.at(a.dx, first * l.in);
    one.dweight = floats(a.dweight1), one.dbias = floats(a.dbias1);
    TILEWISE_RETURN_IF_ERROR(linear_gradient(context, one));
  }
  return Status::ok();
}

}  // namespace tilewise::TILEWISE_GPU
