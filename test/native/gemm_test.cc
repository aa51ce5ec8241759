// Matrix products against plain double loops: random shapes, strides, transposes, dtypes and epilogues, empty sizes, poisoned outputs.
//   gemm_test [seed=1] [cases=400]
// Build, here with the address and undefined-behaviour sanitizers:
//   g++ -std=c++17 -g -O1 -fopenmp -fsanitize=address,undefined -Inative native/cpu/gemm*.cc test/native/gemm_test.cc -ldnnl -o gemm_test
#include <omp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "cpu/gemm.h"

using namespace tilewise;
using namespace tilewise::cpu;

namespace {

int failures = 0, checks = 0;
std::mt19937 generator;

void check(bool condition, const std::string& what) {
  ++checks;
  if (condition) return;
  if (++failures <= 20) std::fprintf(stderr, "gemm_test: %s\n", what.c_str());
}

int64_t pick(int64_t from, int64_t to) { return std::uniform_int_distribution<int64_t>(from, to)(generator); }
bool chance(double p) { return std::bernoulli_distribution(p)(generator); }

// Pages that end where a page begins that may not be touched: an access past the end stops the program, in machine code made at run time
// and by vector intrinsics too, which sanitizers do not see.
class Guarded {
 public:
  explicit Guarded(size_t bytes) {
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE)), room = (bytes + page - 1) / page * page;
    size_ = room + page;
    base_ = static_cast<char*>(mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (base_ == MAP_FAILED || mprotect(base_ + room, page, PROT_NONE) != 0) std::abort();
    data_ = base_ + room - bytes;
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  ~Guarded() { munmap(base_, size_); }
  char* get() const { return data_; }

 private:
  char *base_, *data_;
  size_t size_;
};

// What lies between the rows of a matrix must never change.
struct Matrix {
  int64_t rows, columns, ld;
  DType dtype;
  Guarded bytes;
  static constexpr float kGuard = -12345.0f;

  Matrix(int64_t rows_, int64_t columns_, DType dtype_, int64_t padding)
      : rows(rows_), columns(columns_), ld(columns_ + padding), dtype(dtype_), bytes(static_cast<size_t>(size()) * size_of(dtype)) {
    for (int64_t i = 0; i < size(); ++i) put(i, kGuard);
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < columns; ++j) put(i * ld + j, std::uniform_real_distribution<float>(-1, 1)(generator));
  }
  int64_t size() const { return rows && columns ? (rows - 1) * ld + columns : 0; }
  void put(int64_t i, float value) {
    if (dtype == DType::f32) {
      reinterpret_cast<float*>(bytes.get())[i] = value;
    } else {
      reinterpret_cast<bf16*>(bytes.get())[i] = bf16(value);
    }
  }
  double get(int64_t i) const {
    return dtype == DType::f32 ? reinterpret_cast<const float*>(bytes.get())[i]
                               : static_cast<float>(reinterpret_cast<const bf16*>(bytes.get())[i]);
  }
  double at(int64_t i, int64_t j) const { return get(i * ld + j); }
  void fill(float value) {
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < columns; ++j) put(i * ld + j, value);
  }
  bool guarded() const {
    const double guard = dtype == DType::f32 ? kGuard : static_cast<float>(bf16(kGuard));
    for (int64_t i = 0; i + 1 < rows; ++i)
      for (int64_t j = columns; j < ld && columns; ++j)
        if (at(i, j) != guard) return false;
    return true;
  }
};

double activation(Activation kind, double x) {
  switch (kind) {
    case Activation::none:
      return x;
    case Activation::relu:
      return x < 0 ? 0 : x;
    case Activation::gelu:
      return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case Activation::gelu_tanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::silu:
      return x / (1 + std::exp(-x));
    case Activation::relu2:
      return x < 0 ? 0 : x * x;
  }
  return 0;
}

// Central differences, exact to 1e-9 or so, where there is no corner.
double derivative(Activation kind, double x) {
  if (kind == Activation::relu) return x > 0 ? 1 : 0;
  if (kind == Activation::relu2) return x > 0 ? 2 * x : 0;
  return (activation(kind, x + 1e-5) - activation(kind, x - 1e-5)) / 2e-5;
}

struct Case {
  Gemm g;
  Activation act = Activation::none;
  bool bias = false, pre = false, gradient = false, residual = false;
  DType beside = DType::f32;
  int64_t padding = 0;

  std::string text() const {
    const auto t = [](DType d) { return std::string(name_of(d)); };
    return std::to_string(g.m) + "x" + std::to_string(g.n) + "x" + std::to_string(g.k) + (g.transpose_a ? " At" : "") +
           (g.transpose_b ? " Bt" : "") + " " + t(g.dtype_a) + "*" + t(g.dtype_b) + "->" + t(g.dtype_c) + " alpha " +
           std::to_string(g.alpha) + " beta " + std::to_string(g.beta) + " act " + std::to_string(static_cast<int>(act)) +
           (bias ? " bias" : "") + (pre ? " pre" : "") + (gradient ? " gradient" : "") + (residual ? " residual" : "") + " padding " +
           std::to_string(padding) + " threads " + std::to_string(omp_get_max_threads());
  }
};

void run(Case c) {
  Gemm& g = c.g;
  const Matrix a = g.transpose_a ? Matrix(g.k, g.m, g.dtype_a, c.padding) : Matrix(g.m, g.k, g.dtype_a, c.padding);
  const Matrix b = g.transpose_b ? Matrix(g.n, g.k, g.dtype_b, c.padding) : Matrix(g.k, g.n, g.dtype_b, c.padding);
  Matrix y(g.m, g.n, g.dtype_c, c.padding);
  const Matrix bias(1, g.n, c.beside, 0), residual(g.m, g.n, c.beside, c.padding), input(g.m, g.n, c.beside, c.padding);
  Matrix pre(g.m, g.n, c.beside, c.padding);
  g.lda = std::max<int64_t>(1, a.ld);
  g.ldb = std::max<int64_t>(1, b.ld);
  g.ldc = y.ld;
  if (g.beta == 0) y.fill(std::numeric_limits<float>::quiet_NaN());
  pre.fill(std::numeric_limits<float>::quiet_NaN());

  Epilogue e;
  e.activation = c.act;
  if (c.bias) e.bias = bias.bytes.get(), e.bias_dtype = c.beside;
  if (c.pre) e.pre_activation = {pre.bytes.get(), c.beside, pre.ld};
  if (c.gradient) e.gradient_at = {input.bytes.get(), c.beside, input.ld};
  if (c.residual) e.residual = {residual.bytes.get(), c.beside, residual.ld};

  std::vector<double> want(g.m * g.n), want_pre(g.m * g.n), slack(g.m * g.n);
  for (int64_t i = 0; i < g.m; ++i) {
    for (int64_t j = 0; j < g.n; ++j) {
      double sum = 0, magnitude = 0;
      for (int64_t k = 0; k < g.k; ++k) {
        const double term = (g.transpose_a ? a.at(k, i) : a.at(i, k)) * (g.transpose_b ? b.at(j, k) : b.at(k, j));
        sum += term;
        magnitude += std::fabs(term);
      }
      double v = static_cast<double>(g.alpha) * sum + (g.beta != 0 ? static_cast<double>(g.beta) * y.at(i, j) : 0);
      if (c.bias) v += bias.at(0, j);
      want_pre[i * g.n + j] = v;
      v = c.gradient ? v * derivative(c.act, input.at(i, j)) : activation(c.act, v);
      if (c.residual) v += residual.at(i, j);
      want[i * g.n + j] = v;
      slack[i * g.n + j] =
          4e-7 * (magnitude * std::fabs(g.alpha) + 1) * (c.act == Activation::relu2 ? 2 * std::fabs(want_pre[i * g.n + j]) + 1 : 1.5);
    }
  }
  const Status status = gemm(g, a.bytes.get(), b.bytes.get(), y.bytes.get(), e);
  check(static_cast<bool>(status), c.text() + ": " + status.message);
  if (!status) return;
  const auto near = [&](double is, double expected, double room, DType dtype) {
    return std::fabs(is - expected) <= room + (dtype == DType::bf16 ? std::fabs(expected) / 256 + 1e-38 : 0);  // one rounding
  };
  for (int64_t i = 0; i < g.m; ++i) {
    for (int64_t j = 0; j < g.n; ++j) {
      const int64_t at = i * g.n + j;
      const auto text = [&](const char* what, double is, double expected) {
        return c.text() + ": " + what + "[" + std::to_string(i) + "," + std::to_string(j) + "] is " + std::to_string(is) + ", should be " +
               std::to_string(expected);
      };
      if (!near(y.at(i, j), want[at], slack[at], g.dtype_c)) return check(false, text("c", y.at(i, j), want[at]));
      if (c.pre && !near(pre.at(i, j), want_pre[at], slack[at], c.beside)) return check(false, text("pre", pre.at(i, j), want_pre[at]));
    }
  }
  check(y.guarded() && pre.guarded(), c.text() + ": wrote between rows");
}

DType pick_dtype() { return chance(0.5) ? DType::bf16 : DType::f32; }

Case random_case(int64_t limit) {
  Case c;
  Gemm& g = c.g;
  const auto size = [&] { return chance(0.05) ? 0 : chance(0.2) ? 1 : chance(0.3) ? pick(1, 4) * 16 : pick(1, limit); };
  g.m = size(), g.n = size(), g.k = size();
  if (chance(0.03)) g.m = pick(260, 300), g.n = pick(1100, 2300), g.k = pick(1, 6);  // several parts of the scratch, several strips
  if (chance(0.04)) g.m = pick(1, 90), g.n = pick(1, 90), g.k = pick(2000, 5000);    // long sums
  g.transpose_a = chance(0.5), g.transpose_b = chance(0.5);
  g.dtype_a = pick_dtype(), g.dtype_b = chance(0.8) ? g.dtype_a : pick_dtype(), g.dtype_c = pick_dtype();
  if (chance(0.03)) {  // the gradient of a wide weight
    g.m = pick(1025, 2100), g.n = pick(1, 20), g.k = pick(129, 600);
    g.transpose_a = true;
    g.dtype_a = g.dtype_b = DType::f32;
  }
  g.alpha = chance(0.7) ? 1 : -0.5f;
  g.beta = chance(0.5) ? 0 : chance(0.7) ? 1 : 0.25f;
  c.padding = chance(0.5) ? 0 : pick(1, 9);
  if (chance(0.6)) {
    c.act = static_cast<Activation>(pick(0, 5));
    c.bias = chance(0.5), c.pre = chance(0.5), c.gradient = chance(0.25), c.residual = chance(0.5);
    c.beside = pick_dtype();
  }
  return c;
}

// NaN and infinity go where arithmetic takes them, and nowhere else.
void propagates(DType dtype, bool transpose_a, bool transpose_b) {
  const int64_t m = 37, n = 41, k = 45;
  Matrix a(transpose_a ? k : m, transpose_a ? m : k, dtype, 0), b(transpose_b ? n : k, transpose_b ? k : n, dtype, 0);
  Matrix y(m, n, dtype, 0);
  a.put(transpose_a ? 40 * a.ld + 5 : 5 * a.ld + 40, std::numeric_limits<float>::quiet_NaN());
  b.put(transpose_b ? 7 * b.ld + 3 : 3 * b.ld + 7, std::numeric_limits<float>::infinity());
  Gemm g;
  g.m = m, g.n = n, g.k = k, g.transpose_a = transpose_a, g.transpose_b = transpose_b;
  g.lda = a.ld, g.ldb = b.ld, g.ldc = n, g.dtype_a = g.dtype_b = g.dtype_c = dtype;
  Epilogue e;
  e.activation = Activation::relu;
  const Status status = gemm(g, a.bytes.get(), b.bytes.get(), y.bytes.get(), e);
  check(static_cast<bool>(status), status.message);
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      const double other = transpose_a ? a.at(3, i) : a.at(i, 3);
      const bool right = i == 5 ? std::isnan(y.at(i, j)) : j == 7 ? y.at(i, j) == (other > 0 ? INFINITY : 0.0) : std::isfinite(y.at(i, j));
      check(right, "special values at " + std::to_string(i) + "," + std::to_string(j) + ": " + std::to_string(y.at(i, j)));
    }
  }
}

void batches(DType dtype, int64_t count, int64_t m, bool shared_b) {
  const int64_t n = 19, k = 23;
  Matrix a(count * m, k, dtype, 0), b((shared_b ? 1 : count) * n, k, dtype, 0), y(count * m, n, DType::f32, 0), bias(1, n, DType::f32, 0);
  const Matrix residual(count * m, n, DType::f32, 3);
  Gemm g;
  g.m = m, g.n = n, g.k = k, g.transpose_b = true, g.lda = g.ldb = k, g.ldc = n, g.dtype_a = g.dtype_b = dtype;
  Epilogue e;
  e.bias = bias.bytes.get();
  e.residual = {residual.bytes.get(), DType::f32, residual.ld};
  const Status status = batched_gemm(g, {count, m * k, shared_b ? 0 : n * k, m * n}, a.bytes.get(), b.bytes.get(), y.bytes.get(), e);
  check(static_cast<bool>(status), status.message);
  for (int64_t i = 0; i < count * m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double v = bias.at(0, j) + residual.at(i, j);
      for (int64_t s = 0; s < k; ++s) v += a.at(i, s) * b.at((shared_b ? 0 : i / m * n) + j, s);
      check(std::fabs(v - y.at(i, j)) < 1e-5, "batch row " + std::to_string(i));
    }
  }
}

void refuses(const char* what, Code code, Gemm g, const void* a, const Epilogue& e = {}) {
  float c[4] = {7, 7, 7, 7};
  const float b[4] = {};
  const Status status = gemm(g, a, b, c, e);
  check(status.code == code, std::string("should be refused: ") + what);
  check(!status.message.empty() && c[0] == 7 && c[3] == 7, std::string("refused without a message or after writing: ") + what);
}

void errors() {
  const float a[4] = {};
  Gemm good;
  good.m = good.n = good.k = good.lda = good.ldb = good.ldc = 2;
  Gemm g = good;
  g.m = -1;
  refuses("negative m", Code::invalid_argument, g, a);
  g = good, g.n = -1;
  refuses("negative n", Code::invalid_argument, g, a);
  g = good, g.k = -1;
  refuses("negative k", Code::invalid_argument, g, a);
  g = good, g.lda = 1;
  refuses("short lda", Code::invalid_argument, g, a);
  g = good, g.ldb = 1;
  refuses("short ldb", Code::invalid_argument, g, a);
  g = good, g.ldc = 1;
  refuses("short ldc", Code::invalid_argument, g, a);
  g = good, g.dtype_b = DType::f16;
  refuses("f16", Code::unsupported, g, a);
  refuses("no a", Code::invalid_argument, good, nullptr);
  Epilogue e;
  e.residual = {a, DType::f32, 1};
  refuses("short ld of the residual", Code::invalid_argument, good, a, e);
  e.residual = {a, DType::u8, 2};
  refuses("residual of integers", Code::unsupported, good, a, e);
}

// The same bits from run to run.
void repeats(DType dtype, bool transpose_a) {
  const int64_t m = 300, n = 130, k = 700;
  const Matrix a(transpose_a ? k : m, transpose_a ? m : k, dtype, 0), b(k, n, dtype, 0);
  std::vector<float> first(m * n), second(m * n);
  Gemm g;
  g.m = m, g.n = n, g.k = k, g.transpose_a = transpose_a, g.lda = a.ld, g.ldb = n, g.ldc = n, g.dtype_a = g.dtype_b = dtype;
  for (int i = 0; i < 5; ++i) {
    const Status status = gemm(g, a.bytes.get(), b.bytes.get(), i ? second.data() : first.data());
    check(static_cast<bool>(status) && (i == 0 || first == second), "differs from run to run");
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int seed = argc > 1 ? std::atoi(argv[1]) : 1, cases = argc > 2 ? std::atoi(argv[2]) : 400;
  const int threads = omp_get_max_threads();
  std::printf("gemm_test: seed %d, %d threads, bf16 path %d\n", seed, threads, static_cast<int>(bf16_path()));
  for (Bf16Path path : {Bf16Path::amx, Bf16Path::onednn, Bf16Path::through_f32}) {
    if (!set_bf16_path(path)) {
      std::printf("gemm_test: this processor lacks bf16 path %d\n", static_cast<int>(path));
      continue;
    }
    generator.seed(static_cast<unsigned>(seed));
    for (int i = 0; i < cases; ++i) {
      omp_set_num_threads(i % 3 == 0 ? 1 : i % 3 == 1 ? threads : 3);
      run(random_case(i % 10 == 0 ? 300 : 70));
    }
    for (DType dtype : {DType::f32, DType::bf16}) {
      for (int transposes = 0; transposes < 4; ++transposes) propagates(dtype, transposes & 1, transposes & 2);
      for (int64_t count : {0, 1, 5}) batches(dtype, count, 6, count == 5);
      batches(dtype, 3, 0, false);
      batches(dtype, 2, 130, false);
      for (bool transpose_a : {false, true}) repeats(dtype, transpose_a);
    }
  }
  errors();
  std::printf("gemm_test: %d checks, %d failures\n", checks, failures);
  return failures != 0;
}
