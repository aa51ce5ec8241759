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

template <class Body>
inline Status dispatch_float(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::f32:
      return body(float{});
    case DType::bf16:
      return body(bf16{});
    case DType::f16:
      return body(f16{});
    default:
      return unsupported(std::string("dtype ") + name_of(dtype));
  }
}

// The common index space of K views: merged dimensions and each view's strides over them.
template <int K>
struct Loop {
  int rank = 0;
  int64_t dims[kMaxRank];
  int64_t strides[K][kMaxRank];

  // shape: the view whose dims are the index space; the others broadcast to it (right-aligned, size 1 repeats).
  Loop(const View& shape, const View* const (&views)[K]) {
    int64_t full[K][kMaxRank];
    for (int k = 0; k < K; ++k) {
      const View& view = *views[k];
      const int missing = shape.rank - view.rank;
      for (int i = 0; i < shape.rank; ++i) full[k][i] = i < missing || view.dims[i - missing] == 1 ? 0 : view.strides[i - missing];
    }
    for (int i = 0; i < shape.rank; ++i) {
      if (shape.dims[i] == 1) continue;
      bool merge = rank > 0;
      for (int k = 0; k < K && merge; ++k) merge = strides[k][rank - 1] == full[k][i] * shape.dims[i];
      if (!merge) ++rank;
      dims[rank - 1] = merge ? dims[rank - 1] * shape.dims[i] : shape.dims[i];
      for (int k = 0; k < K; ++k) strides[k][rank - 1] = full[k][i];
    }
    if (rank == 0) {
      rank = 1;
      dims[0] = 1;
      for (int k = 0; k < K; ++k) strides[k][0] = 0;
    }
  }

  // run(offsets, n): n inner elements from the given element offsets; inner strides are strides[k][rank - 1].
  template <class Run>
  void each(Run&& run) const {
    const int64_t inner = dims[rank - 1];
    int64_t outer = 1;
    for (int i = 0; i + 1 < rank; ++i) outer *= dims[i];
    constexpr int64_t kGrain = 16384;
    if (outer == 1) {
      parallel_for(inner, kGrain, [&](int64_t begin, int64_t end) {
        int64_t offsets[K];
        for (int k = 0; k < K; ++k) offsets[k] = begin * strides[k][rank - 1];
        run(offsets, end - begin);
      });
      return;
    }
    parallel_for(outer, std::max<int64_t>(1, kGrain / std::max<int64_t>(1, inner)), [&](int64_t begin, int64_t end) {
      for (int64_t at = begin; at < end; ++at) {
        int64_t offsets[K] = {};
        int64_t rest = at;
        for (int i = rank - 2; i >= 0; --i) {
          const int64_t index = rest % dims[i];
          rest /= dims[i];
          for (int k = 0; k < K; ++k) offsets[k] += index * strides[k][i];
        }
        run(offsets, inner);
      }
    });
  }
};

// y = f(x), element by element; the unit-stride case is the one that vectorizes.
template <class X, class Y, class F>
inline void map1(const View& x, const View& y, F f) {
  const Loop<2> loop(y, {&x, &y});
  const int64_t sx = loop.strides[0][loop.rank - 1], sy = loop.strides[1][loop.rank - 1];
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
  const int64_t sa = loop.strides[0][loop.rank - 1], sb = loop.strides[1][loop.rank - 1], sy = loop.strides[2][loop.rank - 1];
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
