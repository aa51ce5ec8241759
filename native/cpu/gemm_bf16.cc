#include "gemm_bf16.h"

#include <oneapi/dnnl/dnnl.hpp>

#include <new>
#include <string>
#include <unordered_map>

namespace tilewise::cpu {
namespace {

using dnnl::memory;

// Element strides of a row-major matrix, transposed if its op is.
memory::dims strides(bool transpose, int64_t ld) { return transpose ? memory::dims{1, ld} : memory::dims{ld, 1}; }

// One primitive for each pair of transposes and for all sizes: its dimensions and leading dimensions are given at run time. A primitive
// compiled for its sizes (brgemm) takes 0.4 to 2.5 ms to make, longer than most products of one step, and is not faster at large row
// counts.
class RuntimeMatmul {
 public:
  RuntimeMatmul(bool transpose_a, bool transpose_b) : engine_(dnnl::engine::kind::cpu, 0), stream_(engine_) {
    constexpr auto kAny = DNNL_RUNTIME_DIM_VAL;
    const memory::dims any = {kAny, kAny};
    const memory::desc a(any, memory::data_type::bf16, strides(transpose_a, kAny));
    const memory::desc b(any, memory::data_type::bf16, strides(transpose_b, kAny));
    const memory::desc c(any, memory::data_type::f32, strides(false, kAny));
#if DNNL_VERSION_MAJOR >= 3
    const dnnl::matmul::primitive_desc descriptor(engine_, a, b, c);
#else
    const dnnl::matmul::primitive_desc descriptor(dnnl::matmul::desc(a, b, c), engine_);
#endif
    primitive_ = dnnl::matmul(descriptor);
  }

  void run(const Gemm& g, int64_t m, int64_t n, int64_t k, const bf16* a, const bf16* b, float* c, int64_t ldc) {
    // oneDNN takes inputs by pointers to non-const as well.
    const auto bind = [&](int64_t rows, int64_t columns, memory::data_type type, bool transpose, int64_t ld, const void* data) {
      return memory(memory::desc({rows, columns}, type, strides(transpose, ld)), engine_, const_cast<void*>(data));
    };
    primitive_.execute(stream_, {{DNNL_ARG_SRC, bind(m, k, memory::data_type::bf16, g.transpose_a, g.lda, a)},
                                 {DNNL_ARG_WEIGHTS, bind(k, n, memory::data_type::bf16, g.transpose_b, g.ldb, b)},
                                 {DNNL_ARG_DST, bind(m, n, memory::data_type::f32, false, ldc, c)}});
    stream_.wait();
  }

 private:
  dnnl::engine engine_;
  dnnl::stream stream_;
  dnnl::matmul primitive_;
};

// A primitive's scratchpad belongs to one thread, so each thread has its own four.
RuntimeMatmul& primitive(bool transpose_a, bool transpose_b) {
  static thread_local std::unordered_map<int, RuntimeMatmul> primitives;
  return primitives.try_emplace(transpose_a * 2 + transpose_b, transpose_a, transpose_b).first->second;
}

}  // namespace

Status multiply_bf16(const Gemm& g, int64_t m, int64_t n, int64_t k, const bf16* a, const bf16* b, float* c, int64_t ldc) {
  try {
    primitive(g.transpose_a, g.transpose_b).run(g, m, n, k, a, b, c, ldc);
    return Status::ok();
  } catch (const dnnl::error& error) {
    const Code code = error.status == dnnl_out_of_memory ? Code::out_of_memory : Code::device_error;
    return Status::error(code, std::string("[gemm] oneDNN: ") + error.what());
  } catch (const std::bad_alloc&) {
    return Status::error(Code::out_of_memory, "[gemm] no memory for a oneDNN primitive");
  }
}

bool can_multiply_bf16() {
  if (!__builtin_cpu_supports("avx512bf16")) return false;
  const bf16 one(1.0f);
  float product = 0;
  Gemm g;
  g.lda = g.ldb = 1;
  return multiply_bf16(g, 1, 1, 1, &one, &one, &product, 1) && product == 1.0f;  // oneDNN itself may have been told to use less
}

}  // namespace tilewise::cpu
