#include "gemm.h"

#include <omp.h>
#include <oneapi/dnnl/dnnl.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <string>

#include "gemm_amx.h"
#include "gemm_bf16.h"
#include "gemm_epilogue.h"
#include "scratch.h"

namespace tilewise::cpu {
namespace {

// --- arguments

Status invalid(const char* name, int64_t least, int64_t is) {
  return Status::error(Code::invalid_argument,
                       std::string("[gemm] ") + name + " must be at least " + std::to_string(least) + ", is " + std::to_string(is));
}

bool is_supported(DType dtype) { return dtype == DType::f32 || dtype == DType::bf16; }

Status validate_beside(const char* name, bool given, DType dtype, int64_t ld, int64_t n) {
  if (!given) return Status::ok();
  if (!is_supported(dtype)) return Status::error(Code::unsupported, std::string("[gemm] ") + name + " of dtype " + name_of(dtype));
  return ld < n ? invalid(name, n, ld) : Status::ok();
}

Status validate(const Gemm& g, const Epilogue& e) {
  if (g.m < 0) return invalid("m", 0, g.m);
  if (g.n < 0) return invalid("n", 0, g.n);
  if (g.k < 0) return invalid("k", 0, g.k);
  const int64_t columns_a = std::max<int64_t>(1, g.transpose_a ? g.m : g.k), columns_b = std::max<int64_t>(1, g.transpose_b ? g.k : g.n);
  if (g.k > 0 && g.lda < columns_a) return invalid("lda", columns_a, g.lda);
  if (g.k > 0 && g.ldb < columns_b) return invalid("ldb", columns_b, g.ldb);
  if (g.ldc < g.n) return invalid("ldc", g.n, g.ldc);
  for (DType dtype : {g.dtype_a, g.dtype_b, g.dtype_c})
    if (!is_supported(dtype)) return Status::error(Code::unsupported, std::string("[gemm] dtype ") + name_of(dtype));
  TILEWISE_RETURN_IF_ERROR(validate_beside("bias", e.bias != nullptr, e.bias_dtype, g.n, g.n));
  TILEWISE_RETURN_IF_ERROR(
      validate_beside("ld of pre_activation", e.pre_activation.data, e.pre_activation.dtype, e.pre_activation.ld, g.n));
  TILEWISE_RETURN_IF_ERROR(validate_beside("ld of gradient_at", e.gradient_at.data, e.gradient_at.dtype, e.gradient_at.ld, g.n));
  return validate_beside("ld of residual", e.residual.data, e.residual.dtype, e.residual.ld, g.n);
}

thread_local Scratch product_scratch, a_scratch, b_scratch, a_part_scratch;

Status no_memory(int64_t floats) {
  return Status::error(Code::out_of_memory, "[gemm] no memory for " + std::to_string(floats * 4) + " bytes of scratch");
}

// --- one block of C, on the calling thread

Status sgemm(const Gemm& g, int64_t m, int64_t n, int64_t k, float alpha, float beta, const float* a, int64_t lda, const float* b, float* c,
             int64_t ldc) {
  const dnnl_status_t status =
      dnnl_sgemm(g.transpose_a ? 'T' : 'N', g.transpose_b ? 'T' : 'N', m, n, k, alpha, a, lda, b, g.ldb, beta, c, ldc);
  if (status == dnnl_success) return Status::ok();
  return Status::error(status == dnnl_out_of_memory ? Code::out_of_memory : Code::device_error,
                       "[gemm] dnnl_sgemm returned " + std::to_string(status));
}

// oneDNN reads a wide transposed A down its columns, each line in another page and all of them in a few sets of the L1 cache. Copied part
// by part into narrower rows first, a weight's gradient of 2048 x 512 over 1152 tokens takes 12.1 ms instead of 19.6 on one core, over 4096
// tokens 44 instead of 75; parts of 512 columns or of 512 rows are no better. A block of C takes all its sums in turn, while it is in the
// caches: a gradient of 6000 x 512 over 1280 tokens then runs at 161 GFLOP/s instead of 146.
Status sgemm_of_wide_a(const Gemm& g, int64_t m, int64_t n, float alpha, float beta, const float* a, const float* b, float* c,
                       int64_t ldc) {
  constexpr int64_t kColumns = 1024, kRows = 256, kPad = 16;
  float* const part = a_part_scratch.take<float>(kRows * (kColumns + kPad));
  if (!part) return no_memory(kRows * (kColumns + kPad));
  for (int64_t m0 = 0; m0 < m; m0 += kColumns) {
    const int64_t columns = std::min(kColumns, m - m0), ld = columns + kPad;
    for (int64_t k0 = 0; k0 < g.k; k0 += kRows) {
      const int64_t rows = std::min(kRows, g.k - k0);
      for (int64_t i = 0; i < rows; ++i)
        std::memcpy(part + i * ld, a + (k0 + i) * g.lda + m0, static_cast<size_t>(columns) * sizeof(float));
      TILEWISE_RETURN_IF_ERROR(
          sgemm(g, columns, n, rows, alpha, k0 ? 1 : beta, part, ld, b + (g.transpose_b ? k0 : k0 * g.ldb), c + m0 * ldc, ldc));
    }
  }
  return Status::ok();
}

Status multiply(const Gemm& g, int64_t m, int64_t n, float alpha, float beta, const void* a, const void* b, float* c, int64_t ldc) {
  if (g.dtype_a == DType::bf16) return multiply_bf16(g, m, n, g.k, static_cast<const bf16*>(a), static_cast<const bf16*>(b), c, ldc);
  constexpr int64_t kWide = 1024, kLong = 128;
  const float* const left = static_cast<const float*>(a);
  const float* const right = static_cast<const float*>(b);
  if (g.transpose_a && g.lda > kWide && g.k > kLong) return sgemm_of_wide_a(g, m, n, alpha, beta, left, right, c, ldc);
  return sgemm(g, m, n, g.k, alpha, beta, left, g.lda, right, c, ldc);
}

Status run_block(const Gemm& g, Block block, const void* a, const void* b, void* c, const Epilogue& e) {
  block.alpha = g.alpha;
  block.beta = g.beta;
  if (g.k == 0) {
    finish(block, g, c, e);
    return Status::ok();
  }
  const auto from_row = [&](int64_t row) {
    const int64_t offset = g.transpose_a ? row : row * g.lda;
    return static_cast<const char*>(a) + offset * static_cast<int64_t>(size_of(g.dtype_a));
  };
  const void* right =
      static_cast<const char*>(b) + (g.transpose_b ? block.column * g.ldb : block.column) * static_cast<int64_t>(size_of(g.dtype_b));

  // Straight into C where C can hold the product: the epilogue then goes over a block that the cache still has.
  const bool scales = g.dtype_a == DType::f32;  // the f32 product takes alpha and beta
  if (g.dtype_c == DType::f32 && (scales || g.beta == 0)) {
    float* product = static_cast<float*>(c) + block.row * g.ldc + block.column;
    TILEWISE_RETURN_IF_ERROR(multiply(g, block.rows, block.columns, g.alpha, g.beta, from_row(block.row), right, product, g.ldc));
    block.product = product;
    block.product_ld = g.ldc;
    if (scales) block.alpha = 1;
    block.beta = 0;
    if (block.alpha != 1 || !is_identity(e)) finish(block, g, c, e);
    return Status::ok();
  }

  // Else through f32 scratch that stays in the L2 cache, as few rows at a time as do not starve the product.
  constexpr int64_t kScratch = int64_t{256} << 10, kLeastRows = 128;
  const int64_t step = std::max(kLeastRows, kScratch / block.columns);
  const int64_t size = std::min(step, block.rows) * block.columns;
  float* product = product_scratch.take<float>(size);
  if (!product) return no_memory(size);
  Block part = block;
  part.product = product;
  part.product_ld = block.columns;
  for (int64_t row = 0; row < block.rows; row += step) {
    part.row = block.row + row;
    part.rows = std::min(step, block.rows - row);
    TILEWISE_RETURN_IF_ERROR(multiply(g, part.rows, part.columns, 1, 0, from_row(part.row), right, product, block.columns));
    finish(part, g, c, e);
  }
  product_scratch.trim();
  return Status::ok();
}

// --- the whole of C, one block a thread

struct Grid {
  int rows = 1, columns = 1;
};

// oneDNN's own partition inside one call loses up to a third where B is transposed and m is small (64 x 2048 x 512, 2 threads: 773 us,
// 472 us sliced by columns; 1152 x 512 x 512: 2008 and 1865 us by rows). Slices of at least 128 rows keep the single thread's product fast.
Grid choose_grid(const Gemm& g) {
  constexpr double kSerial = 1 << 18;  // multiply-adds: about 2 us on one core, what starting threads costs
  constexpr int64_t kRows = 128, kColumns = 32;
  const int threads = omp_in_parallel() ? 1 : omp_get_max_threads();
  const double work = static_cast<double>(g.m) * static_cast<double>(g.n) * static_cast<double>(std::max<int64_t>(1, g.k));
  if (threads == 1 || work < kSerial) return {};
  Grid grid;
  for (int rows = 1; rows <= threads && g.m >= rows * kRows; ++rows)
    if (threads % rows == 0) grid.rows = rows;
  grid.columns = static_cast<int>(std::clamp<int64_t>(g.n / kColumns, 1, threads / grid.rows));
  return grid;
}

// Where slice i of parts begins: multiples of 16, so that slices keep the kernels' tiles whole.
int64_t slice(int64_t size, int i, int parts) { return i == parts ? size : size * i / parts / 16 * 16; }

Status run_grid(const Gemm& g, const void* a, const void* b, void* c, const Epilogue& e) {
  const Grid grid = choose_grid(g);
  const int blocks = grid.rows * grid.columns;
  const auto run = [&](int i) {
    Block block;
    const int row = i / grid.columns, column = i % grid.columns;
    block.row = slice(g.m, row, grid.rows);
    block.rows = slice(g.m, row + 1, grid.rows) - block.row;
    block.column = slice(g.n, column, grid.columns);
    block.columns = slice(g.n, column + 1, grid.columns) - block.column;
    return block.rows && block.columns ? run_block(g, block, a, b, c, e) : Status::ok();
  };
  if (blocks == 1) return run(0);
  Status status = Status::ok();
#pragma omp parallel for num_threads(blocks) schedule(static)
  for (int i = 0; i < blocks; ++i) {
    Status mine = run(i);
    if (!mine) {
#pragma omp critical(tilewise_gemm_status)
      status = std::move(mine);
    }
  }
  return status;
}

// --- bf16 operands

std::atomic<int> chosen_path{-1};

// x [rows, columns] as packed f32; rows are what is stored.
Status widened(const void* x, int64_t rows, int64_t columns, int64_t ld, Scratch& scratch, const void** y) {
  float* to = scratch.take<float>(rows * columns);
  if (!to) return no_memory(rows * columns);
  Gemm copy;  // C = 0 + residual
  copy.ldc = copy.n = columns;
  Epilogue e;
  e.residual = {x, DType::bf16, ld};
  const int parts = omp_in_parallel() ? 1 : static_cast<int>(std::clamp<int64_t>(rows * columns >> 14, 1, omp_get_max_threads()));
#pragma omp parallel for num_threads(parts) if (parts > 1) schedule(static)
  for (int i = 0; i < parts; ++i) {
    Block block;
    block.row = rows * i / parts;
    block.rows = rows * (i + 1) / parts - block.row;
    block.columns = columns;
    finish(block, copy, to, e);
  }
  *y = to;
  return Status::ok();
}

}  // namespace

Bf16Path bf16_path() {
  int path = chosen_path.load(std::memory_order_relaxed);
  if (path < 0) {
    const Bf16Path best = has_amx() ? Bf16Path::amx : can_multiply_bf16() ? Bf16Path::onednn : Bf16Path::through_f32;
    path = static_cast<int>(best);
    chosen_path.store(path, std::memory_order_relaxed);
  }
  return static_cast<Bf16Path>(path);
}

bool set_bf16_path(Bf16Path path) {
  if (path == Bf16Path::amx && !has_amx()) return false;
  if (path == Bf16Path::onednn && !can_multiply_bf16()) return false;
  chosen_path.store(static_cast<int>(path), std::memory_order_relaxed);
  return true;
}

Status gemm(const Gemm& g, const void* a, const void* b, void* c, const Epilogue& e) {
  TILEWISE_RETURN_IF_ERROR(validate(g, e));
  if (g.m == 0 || g.n == 0) return Status::ok();
  if (!c || (g.k > 0 && (!a || !b))) return Status::error(Code::invalid_argument, "[gemm] a, b and c must not be null");
  const bool bf16_a = g.dtype_a == DType::bf16, bf16_b = g.dtype_b == DType::bf16;
  if (g.k == 0 || (!bf16_a && !bf16_b)) return run_grid(g, a, b, c, e);
  if (bf16_a && bf16_b && bf16_path() == Bf16Path::amx) {
    bool done = false;
    TILEWISE_RETURN_IF_ERROR(amx_gemm(g, static_cast<const bf16*>(a), static_cast<const bf16*>(b), c, e, &done));
    if (done) return Status::ok();
  }
  static const bool onednn_bf16 = can_multiply_bf16();
  if (bf16_a && bf16_b && onednn_bf16 && bf16_path() != Bf16Path::through_f32) return run_grid(g, a, b, c, e);

  Gemm wide = g;
  wide.dtype_a = wide.dtype_b = DType::f32;
  if (bf16_a) {
    const int64_t rows = g.transpose_a ? g.k : g.m, columns = g.transpose_a ? g.m : g.k;
    TILEWISE_RETURN_IF_ERROR(widened(a, rows, columns, g.lda, a_scratch, &a));
    wide.lda = columns;
  }
  if (bf16_b) {
    const int64_t rows = g.transpose_b ? g.n : g.k, columns = g.transpose_b ? g.k : g.n;
    TILEWISE_RETURN_IF_ERROR(widened(b, rows, columns, g.ldb, b_scratch, &b));
    wide.ldb = columns;
  }
  const Status status = run_grid(wide, a, b, c, e);
  a_scratch.trim();
  b_scratch.trim();
  return status;
}

Status batched_gemm(const Gemm& g, const Batch& batch, const void* a, const void* b, void* c, const Epilogue& e) {
  if (batch.count < 0) return invalid("count", 0, batch.count);
  const auto shift = [](auto* data, int64_t elements, DType dtype) -> decltype(data) {
    if (!data) return data;
    using Bytes = std::conditional_t<std::is_const_v<std::remove_pointer_t<decltype(data)>>, const char, char>;
    return static_cast<Bytes*>(data) + elements * static_cast<int64_t>(size_of(dtype));
  };
  const auto run = [&](int64_t i) {
    Epilogue mine = e;
    mine.pre_activation.data = shift(e.pre_activation.data, i * g.m * e.pre_activation.ld, e.pre_activation.dtype);
    mine.gradient_at.data = shift(e.gradient_at.data, i * g.m * e.gradient_at.ld, e.gradient_at.dtype);
    mine.residual.data = shift(e.residual.data, i * g.m * e.residual.ld, e.residual.dtype);
    return gemm(g, shift(a, i * batch.stride_a, g.dtype_a), shift(b, i * batch.stride_b, g.dtype_b),
                shift(c, i * batch.stride_c, g.dtype_c), mine);
  };
  // A thread takes whole products, unless there are too few of them.
  const int threads = omp_in_parallel() ? 1 : omp_get_max_threads();
  Status status = Status::ok();
  if (threads > 1 && batch.count >= threads) {
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < batch.count; ++i) {
      Status mine = run(i);
      if (!mine) {
#pragma omp critical(tilewise_gemm_status)
        status = std::move(mine);
      }
    }
    return status;
  }
  for (int64_t i = 0; i < batch.count && status; ++i) status = run(i);
  return status;
}

}  // namespace tilewise::cpu
