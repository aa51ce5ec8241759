// Times matrix products. Reads one product a line from standard input, writes its best time in microseconds a line:
//   m n k transpose_a transpose_b f32|bf16 c_dtype beta amx|onednn|through_f32 seconds
// gemm_bench.py drives it against PyTorch. Build: see there.
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <random>
#include <string>

#include "cpu/gemm.h"

using namespace tilewise;
using namespace tilewise::cpu;

namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// As the device allocates: large blocks on huge pages.
struct Free {
  void operator()(char* data) const { std::free(data); }
};
using Memory = std::unique_ptr<char, Free>;

Memory random_matrix(int64_t size, DType dtype) {
  constexpr size_t kHugePage = size_t{2} << 20;
  const size_t wanted = static_cast<size_t>(size) * size_of(dtype), alignment = wanted >= 2 * kHugePage ? kHugePage : 64;
  const size_t rounded = (wanted + alignment) / alignment * alignment;
  Memory bytes(static_cast<char*>(std::aligned_alloc(alignment, rounded)));
  if (alignment == kHugePage) madvise(bytes.get(), rounded, MADV_HUGEPAGE);
  std::mt19937 generator(1);
  for (int64_t i = 0; i < size; ++i) {
    const float value = static_cast<float>(generator()) * 0x1p-32f;
    if (dtype == DType::f32) {
      reinterpret_cast<float*>(bytes.get())[i] = value;
    } else {
      reinterpret_cast<bf16*>(bytes.get())[i] = bf16(value);
    }
  }
  return bytes;
}

DType dtype_of(const std::string& name) { return name == "bf16" ? DType::bf16 : DType::f32; }

}  // namespace

int main() {
  Gemm g;
  std::string dtype, c_dtype, path;
  double seconds = 0;
  while (std::cin >> g.m >> g.n >> g.k >> g.transpose_a >> g.transpose_b >> dtype >> c_dtype >> g.beta >> path >> seconds) {
    g.dtype_a = g.dtype_b = dtype_of(dtype);
    g.dtype_c = dtype_of(c_dtype);
    g.lda = g.transpose_a ? g.m : g.k;
    g.ldb = g.transpose_b ? g.k : g.n;
    g.ldc = g.n;
    const auto a = random_matrix(g.m * g.k, g.dtype_a), b = random_matrix(g.k * g.n, g.dtype_b), bias = random_matrix(g.n, g.dtype_a);
    auto c = random_matrix(g.m * g.n, g.dtype_c);
    Epilogue e;
    e.bias = g.transpose_b ? bias.get() : nullptr;  // a linear layer's forward has one
    e.bias_dtype = g.dtype_a;
    const bool has_path = set_bf16_path(path == "amx" ? Bf16Path::amx : path == "onednn" ? Bf16Path::onednn : Bf16Path::through_f32);
    double best = 1e9;
    const double start = now();
    for (int i = 0; i < 4 || now() - start < seconds; ++i) {
      const double from = now();
      if (!has_path || !gemm(g, a.get(), b.get(), c.get(), e)) break;
      if (i > 0) best = std::min(best, now() - from);
    }
    std::cout << best * 1e6 << std::endl;
  }
}
