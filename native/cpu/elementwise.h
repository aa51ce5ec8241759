// Strided element-wise loops: dimensions that can be merged are merged, the innermost runs as a SIMD loop.
#pragma once
#include "cpu.h"
#include "parallel.h"

namespace tilewise::cpu::TILEWISE_ISA {

// Calls body with a value of the view's element type.
template <class Body>
inline Status dispatch_dtype(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::f32:
      return body(float{});
    case DType::bf16:
      return body(bf16{});
    case DType::f16:
      return body(f16{});
    case DType::i32:
      return body(int32_t{});
    case DType::u8:
      return body(uint8_t{});
  }
  return unsupported("this dtype");
}

// The float types that the CPU computes in; f16 is only stored and converted here.
template <class Body>
inline Status dispatch_float(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::f32:
      return body(float{});
    case DType::bf16:
      return body(bf16{});
    default:
      return unsupported(std::string("arithmetic in ") + name_of(dtype));
  }
}

// The common index space of K views: merged dimensions and each view's strides over them.
template <int K>
struct Loop {
  int rank = 0;
  int64_t dims[kMaxRank];
  int64_t strides[K][kMaxRank];

  // shape: the view whose dims are the index space; the others broadcast to it (right-aligned, size 1 repeats).
  Loop(const View& shape, const View* const (&views)[K]);

  int64_t inner_stride(int view) const { return strides[view][rank - 1]; }

  // run(offsets, n): n inner elements from the given element offsets, on several threads.
  template <class Run>
  void each(const Run& run) const {
    each_run([](const void* context, const int64_t* offsets, int64_t n) { (*static_cast<const Run*>(context))(offsets, n); }, &run);
  }

 private:
  // Behind a pointer, so that the loop over threads is compiled once and not for every function and type.
  using Inner = void (*)(const void* context, const int64_t* offsets, int64_t n);
  void each_run(Inner inner, const void* context) const;
};

// y = f(x), element by element; the unit-stride case is the one that vectorizes.
template <class X, class Y, class F>
inline void map1(const View& x, const View& y, F f) {
  const Loop<2> loop(y, {&x, &y});
  const int64_t sx = loop.inner_stride(0), sy = loop.inner_stride(1);
  loop.each([&](const int64_t* offsets, int64_t n) {
    const X* px = x.as<X>() + offsets[0];
    Y* py = y.as<Y>() + offsets[1];
    if (sx == 1 && sy == 1) {
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) py[i] = Y(f(px[i]));
    } else {
      for (int64_t i = 0; i < n; ++i) py[i * sy] = Y(f(px[i * sx]));
    }
  });
}

// y = f(a, b), with a and b broadcast to y; y contiguous in its inner dimension.
template <class A, class B, class Y, class F>
inline void map2(const View& a, const View& b, const View& y, F f) {
  const Loop<3> loop(y, {&a, &b, &y});
  const int64_t sa = loop.inner_stride(0), sb = loop.inner_stride(1), sy = loop.inner_stride(2);
  loop.each([&](const int64_t* offsets, int64_t n) {
    const A* pa = a.as<A>() + offsets[0];
    const B* pb = b.as<B>() + offsets[1];
    Y* py = y.as<Y>() + offsets[2];
    if (sa == 1 && sb == 1 && sy == 1) {
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) py[i] = Y(f(pa[i], pb[i]));
    } else if (sa == 1 && sb == 0 && sy == 1) {
      const B right = *pb;
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) py[i] = Y(f(pa[i], right));
    } else {
      for (int64_t i = 0; i < n; ++i) py[i * sy] = Y(f(pa[i * sa], pb[i * sb]));
    }
  });
}

}  // namespace tilewise::cpu::TILEWISE_ISA
