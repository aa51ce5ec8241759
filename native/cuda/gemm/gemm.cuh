// From a product to a kernel: few rows or tiles, layouts, parts of the sum.
#include "../gemm.h"

#include "../prim/vector.cuh"
#include "../tune.h"

namespace tilewise::TILEWISE_GPU {
namespace {

// Whether 16 bytes at a time may be copied where `stride` separates lines, or lines of k.
bool multiple_of_16(int64_t stride, size_t element) { return stride * static_cast<int64_t>(element) % 16 == 0; }

// Sizes of 1 leave their stride free.
Major major_of(GemmOperand* o, int64_t lines, int64_t k, size_t element, const int64_t* batch_strides, int rank) {
  if (lines == 1) o->line_stride = 0;
  if (k == 1) o->k_stride = o->line_stride == 1 ? 0 : 1;
  bool aligned = aligned16(o->data);
  for (int i = 0; i < rank; ++i) aligned = aligned && multiple_of_16(batch_strides[i], element);
  if (aligned && o->k_stride == 1 && multiple_of_16(o->line_stride, element)) return Major::k;
  if (aligned && o->line_stride == 1 && multiple_of_16(o->k_stride, element)) return Major::line;
  return Major::neither;
}

// Whether the epilogue may access groups of four columns at once, wherever it goes.
bool groups_are_aligned(const GemmProblem& p) {
  const GemmEpilogue& e = p.epilogue;
  const auto element = static_cast<int64_t>(size_of(p.dtype)), output = e.output_f32 ? 4 : element;
  bool aligned = true;
  const auto pointer = [&](const void* data, int64_t size) {
    aligned = aligned && reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(4 * size) == 0;
  };
  const auto beside = [&](const GemmBeside& matrix) {
    if (!matrix.data) return;
    pointer(matrix.data, element);
    aligned = aligned && matrix.ld % 4 == 0;
  };
  if (e.bias) pointer(e.bias, e.bias_f32 ? 4 : element);
  beside(e.preactivation);
  beside(e.at);
  beside(e.hidden);
  beside(e.residual);
  if (e.gated) aligned = aligned && e.columns % 4 == 0;
  for (int i = 0; i < e.output_count; ++i) {
    pointer(e.outputs[i].data, output);
    aligned = aligned && e.outputs[i].ld % 4 == 0 && (i + 1 == e.output_count || e.outputs[i].end % 4 == 0);
  }
  return aligned && e.batch_stride % 4 == 0;
}

// Whether gemm_few_rows does the product, and how. Rows of 16 bytes whole, all of them forward; columns that turn with each other in one
// group of four, or eight and eight.
bool takes_few_rows(const Gpu& gpu, const GemmProblem& p, const GemmVariant& variant, GemmFewRows* few) {
  constexpr int64_t kTile = FewRows::kColumns;
  const GemmEpilogue& e = p.epilogue;
  const Rotary& r = e.heads.rotary;
  const auto element = static_cast<int64_t>(size_of(p.dtype));
  const bool by_halves = r.cosines && !(r.interleaved && r.head % 2 == 0);
  if (p.m > FewRows::kRows || variant.a != Major::k || variant.b != Major::k || p.segment_count > 0 || p.k * element % 16 != 0 ||
      (by_halves && (r.interleaved || r.head % kTile != 0 || r.pairs % kTile != 0)))
    return false;
  const int64_t columns = e.columns;
  int64_t blocks = ceil_div(columns, kTile);
  if (e.gated) {
    few->second = FewRowsSecond::gate_up;
  } else if (by_halves) {
    few->second = FewRowsSecond::partner;
    few->heads = static_cast<int32_t>(r.columns / r.head);
    few->head_blocks = static_cast<int32_t>(r.pairs / kTile + ceil_div(r.head - 2 * r.pairs, 2 * kTile));
    blocks = int64_t{few->heads} * few->head_blocks + ceil_div(columns - r.columns, 2 * kTile);
  } else if (few_rows_take_two_tiles(gpu, columns, p.batch.count)) {
    few->second = FewRowsSecond::beside;
    blocks = ceil_div(columns, 2 * kTile);
  }
  const int64_t chunks = ceil_div(p.k * element, FewRows::kChunkBytes);
  const int64_t warps = few_rows_warps(gpu, blocks * p.batch.count, chunks, few->second == FewRowsSecond::none ? 1 : 2);
  few->blocks = static_cast<int32_t>(blocks);
  few->chunks = static_cast<int32_t>(ceil_div(chunks, warps));
  few->warps = few->chunks ? static_cast<int32_t>(ceil_div(chunks, few->chunks)) : 1;
  return true;
}

}  // namespace

Status gemm(Context& context, GemmProblem p) {
  if (p.m == 0 || p.n == 0 || p.batch.count == 0) return Status::ok();
  constexpr int64_t kMost = 0x7fffffff - 2 * GemmTiles::kLarge;
  if (p.m > kMost || p.n > kMost || p.k > kMost)
    return unsupported("a matrix product of " + std::to_string(p.m) + " × " + std::to_string(p.n) + " × " + std::to_string(p.k));
  const Gpu& gpu = gpu_of(context);
  const size_t element = size_of(p.dtype);
  const int64_t depth = GemmTiles::kDepthBytes / static_cast<int64_t>(element);

  GemmVariant variant{};
  variant.a = major_of(&p.a, p.m, p.k, element, p.batch.strides_a, p.batch.rank);
  variant.b = major_of(&p.b, p.n, p.k, element, p.batch.strides_b, p.batch.rank);
  bool whole = true;  // whether no stage has parts of two segments
  for (int i = 0; i < p.segment_count; ++i)
    whole = whole && variant.a == Major::k && p.segments[i].first_k % depth == 0 && aligned16(p.segments[i].data) &&
            multiple_of_16(p.segments[i].line_stride, element);
  if (variant.a == Major::neither || variant.b == Major::neither || !whole) variant.a = variant.b = Major::neither;

  GemmEpilogue& e = p.epilogue;
  if (e.columns == 0) e.columns = static_cast<int32_t>(p.n);
  e.output_f32 = e.output_f32 || e.accumulate;
  e.vectors = groups_are_aligned(p);
  const Rotary& rotary = e.heads.rotary;
  e.heads.groups = rotary.cosines && rotary.head % 4 == 0 && rotary.pairs % (rotary.interleaved ? 2 : 4) == 0 &&
                   aligned16(rotary.cosines) && aligned16(rotary.sines);
  // The kernels know what their layouts are for; what else is asked of one goes to the kernel that knows all.
  const bool forward = e.bias || e.preactivation.data || e.residual.data || e.activation != Activation::none || e.output_count > 1;
  const bool known = e.heads        ? variant.a == Major::k && variant.b == Major::k
                     : e.at.data    ? variant.a == Major::k && variant.b == Major::line
                     : e.accumulate ? variant.a == Major::line && variant.b == Major::line
                                    : !(forward || e.gated) || (variant.a == Major::k && variant.b == Major::k);
  if (!known) variant.a = variant.b = Major::neither;

  GemmArguments g{};
  g.m = static_cast<int32_t>(p.m), g.n = static_cast<int32_t>(p.n), g.k = static_cast<int32_t>(p.k);
  g.tf32 = gpu.tf32;
  g.a = p.a, g.b = p.b;
  for (int i = 0; i < 2; ++i) g.segments[i] = p.segments[i];
  g.segment_count = p.segment_count;
  g.batch = p.batch;
  g.epilogue = e;
  variant.few_rows = takes_few_rows(gpu, p, variant, &g.few_rows);
  if (!variant.few_rows) {
    const int64_t k_tiles = ceil_div(p.k, depth);
    // Columns that turn with each other are at most a head apart, and neighbours in one group of four where heads are even.
    const int64_t unit = !rotary.cosines || (rotary.interleaved && rotary.head % 2 == 0) ? 1 : rotary.head;
    const GemmPlan plan = plan_gemm(gpu, p.m, p.n, k_tiles, p.batch.count, variant.a != Major::neither, p.dtype == DType::f32, unit);
    variant.large = plan.large;
    if (plan.tiles_m * plan.tiles_n * plan.splits * p.batch.count > 0x7fffffff) return unsupported("a matrix product of so many tiles");
    g.tiles_m = static_cast<int32_t>(plan.tiles_m), g.tiles_n = static_cast<int32_t>(plan.tiles_n), g.group = plan.group;
    g.splits = plan.splits, g.k_tiles_per_split = static_cast<int32_t>(plan.k_tiles_per_split);
    if (plan.in_parts) {
      void* memory = nullptr;
      const auto parts = static_cast<size_t>(p.batch.count * plan.splits);
      TILEWISE_RETURN_IF_ERROR(context.scratch(parts * static_cast<size_t>(p.m * p.n) * sizeof(float), &memory));
      g.partials = static_cast<float*>(memory);
    }
  }
  switch (p.dtype) {
    case DType::f32:
      return launch_gemm_f32(gpu, variant, g);
    case DType::bf16:
      return launch_gemm_bf16(gpu, variant, g);
    case DType::f16:
      return launch_gemm_f16(gpu, variant, g);
    default:
      return unsupported(std::string("a matrix product of ") + name_of(p.dtype));
  }
}

}  // namespace tilewise::TILEWISE_GPU
