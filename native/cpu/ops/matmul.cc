// c = alpha * a @ b, batched, with operands as views have them.
#include <mutex>

#include "../elementwise.h"
#include "../gemm.h"
#include "attention_tile.h"

namespace tilewise::cpu::TILEWISE_ISA {
namespace {

// One side of the product: matrices that gemm can read, and the steps between them along c's leading dimensions (0 repeats).
struct Operand {
  const char* data = nullptr;
  bool transposed = false;
  int64_t ld = 1;
  int64_t steps[kMaxRank] = {};
};

// Whether rows of `columns` elements with these strides are what a leading dimension describes; sizes of 1 leave their stride free.
bool is_row_major(int64_t rows, int64_t columns, int64_t row_stride, int64_t column_stride, int64_t* ld) {
  *ld = rows == 1 ? std::max<int64_t>(1, columns) : row_stride;
  return (columns == 1 || column_stride == 1) && *ld >= std::max<int64_t>(1, columns);
}

Status as_operand(Context& context, const View& given, const View& c, Operand* operand) {
  View x = given;
  const int r = x.rank - 2;
  const auto readable = [&] {
    if (is_row_major(x.dims[r], x.dims[r + 1], x.strides[r], x.strides[r + 1], &operand->ld)) return true;
    operand->transposed = is_row_major(x.dims[r + 1], x.dims[r], x.strides[r + 1], x.strides[r], &operand->ld);
    return operand->transposed;
  };
  if (!readable()) {
    int64_t stride = 1;
    for (int i = x.rank - 1; i >= 0; --i) {
      x.strides[i] = stride;
      stride *= x.dims[i];
    }
    TILEWISE_RETURN_IF_ERROR(context.scratch(static_cast<size_t>(stride) * size_of(x.dtype), &x.data));
    TILEWISE_RETURN_IF_ERROR(dispatch_float(x.dtype, [&](auto type) {
      using T = decltype(type);
      map1<T, T>(given, x, [](T value) { return value; });
      return Status::ok();
    }));
    readable();
  }
  operand->data = x.as<char>();
  const int missing = c.rank - x.rank;
  for (int i = missing; i + 2 < c.rank; ++i)
    if (x.dims[i - missing] != 1) operand->steps[i] = x.strides[i - missing];
  return Status::ok();
}

// The step between consecutive matrices if it is one number over the whole batch, else -1.
int64_t uniform_step(const View& c, const Operand& operand) {
  int64_t first = -1, next = 0;
  for (int i = c.rank - 3; i >= 0; --i) {
    if (c.dims[i] == 1) continue;
    if (first < 0)
      first = next = operand.steps[i];
    else if (operand.steps[i] != next)
      return -1;
    next *= c.dims[i];
  }
  return first;
}

// Small f32 matrices whose b fits in the first-level cache: a call of oneDNN's product takes as long again as its arithmetic. False: not of
// this kind.
bool multiply_small(const Gemm& g, const float* a, const float* b, float* c) {
  using namespace attention_tile;
  constexpr int64_t kMost = 8192;
  if (g.dtype_a != DType::f32 || g.dtype_b != DType::f32 || g.dtype_c != DType::f32) return false;
  if (g.n % kLanes != 0 || g.n * g.k > kMost || g.m > 512) return false;
  int64_t ldb = g.ldb;
  if (g.transpose_b) {
    if (g.k % kLanes != 0) return false;
    alignas(64) static thread_local float columns[kMost];
    transpose(b, g.ldb, g.n, g.k, columns, g.n);
    b = columns, ldb = g.n;
  }
  multiply<Into::assign>(g.m, g.n, g.k, a, g.transpose_a ? 1 : g.lda, g.transpose_a ? g.lda : 1, b, ldb, c, g.ldc);
  if (g.alpha != 1.0f) {
#pragma omp simd
    for (int64_t i = 0; i < g.m * g.n; ++i) c[i] *= g.alpha;
  }
  return true;
}

}  // namespace

Status matmul(Context& context, const matmul_args& args) {
  const View& c = args.c;
  if (c.count() == 0) return Status::ok();
  Operand a, b;
  TILEWISE_RETURN_IF_ERROR(as_operand(context, args.a, c, &a));
  TILEWISE_RETURN_IF_ERROR(as_operand(context, args.b, c, &b));
  Gemm g;
  g.m = c.dims[c.rank - 2], g.n = c.dims[c.rank - 1], g.k = args.a.last();
  g.transpose_a = a.transposed, g.transpose_b = b.transposed;
  g.lda = a.ld, g.ldb = b.ld, g.ldc = g.n;
  g.alpha = args.alpha;
  g.dtype_a = args.a.dtype, g.dtype_b = args.b.dtype, g.dtype_c = c.dtype;
  int64_t count = c.count() / (g.m * g.n);

  // Where all matrices meet one b, and their rows follow each other, they are one taller matrix.
  const int64_t step_a = uniform_step(c, a);
  const bool tall = g.m == 1 ? step_a >= g.k : step_a == g.m * g.lda;
  if (count > 1 && uniform_step(c, b) == 0 && tall && !(a.transposed && g.m > 1)) {
    if (g.m == 1) g.lda = std::max<int64_t>(1, step_a);
    g.transpose_a = false;
    g.m *= count;
    count = 1;
  }

  const auto run = [&](int64_t index) {
    int64_t offset_a = 0, offset_b = 0, rest = index;
    for (int i = c.rank - 3; i >= 0 && rest > 0; --i) {
      const int64_t at = rest % c.dims[i];
      rest /= c.dims[i];
      offset_a += at * a.steps[i];
      offset_b += at * b.steps[i];
    }
    const int64_t size_a = size_of(g.dtype_a), size_b = size_of(g.dtype_b), size_c = size_of(g.dtype_c);
    const char *left = a.data + offset_a * size_a, *right = b.data + offset_b * size_b;
    char* product = c.as<char>() + index * g.m * g.n * size_c;
    if (count > 1 &&
        multiply_small(g, reinterpret_cast<const float*>(left), reinterpret_cast<const float*>(right), reinterpret_cast<float*>(product)))
      return Status::ok();
    return gemm(g, left, right, product);
  };
  // A thread takes whole products, unless there are too few of them.
  if (count < omp_get_max_threads()) {
    for (int64_t i = 0; i < count; ++i) TILEWISE_RETURN_IF_ERROR(run(i));
    return Status::ok();
  }
  Status status = Status::ok();
  std::mutex mutex;
  const int64_t work = g.m * g.n * std::max<int64_t>(1, g.k);
  parallel_for(count, std::max<int64_t>(1, (int64_t{1} << 17) / work), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      Status mine = run(i);
      if (mine) continue;
      const std::lock_guard<std::mutex> lock(mutex);
      status = std::move(mine);
      return;
    }
  });
  return status;
}

}  // namespace tilewise::cpu::TILEWISE_ISA
