// Sums, means, maxima and minima over any dimensions, accumulated in f32 (integers: in i32). kind numbers: lib/ops/reduce.ts.
#include <cmath>
#include <limits>
#include <vector>

#include "../elementwise.h"

namespace tilewise::cpu::TILEWISE_ISA {
namespace {

enum class Kind : int32_t { sum, mean, maximum, minimum };

// The index space split into kept and reduced dimensions.
struct Split {
  View kept, reduced;  // kept.data is y's; strides of both are x's
  int64_t kept_count = 1, reduced_count = 1;

  Split(const View& x, int32_t dims) {
    kept = reduced = View{};
    for (int i = 0; i < x.rank; ++i) {
      if (x.dims[i] == 1) continue;
      View& side = dims >> i & 1 ? reduced : kept;
      side.dims[side.rank] = x.dims[i];
      side.strides[side.rank++] = x.strides[i];
      (dims >> i & 1 ? reduced_count : kept_count) *= x.dims[i];
    }
    for (int i = 0; i < x.rank; ++i)
      if (x.dims[i] == 0) (dims >> i & 1 ? reduced_count : kept_count) = 0;
  }
};

// The element offset of index `at` in a side's row-major order.
int64_t offset_of(const View& side, int64_t at) {
  int64_t offset = 0;
  for (int i = side.rank - 1; i >= 0; --i) {
    offset += at % side.dims[i] * side.strides[i];
    at /= side.dims[i];
  }
  return offset;
}

struct Sum {
  static constexpr float start() { return 0.0f; }
  static inline __attribute__((always_inline)) float join(float a, float b) { return a + b; }
};
// A NaN wins on either side.
struct Maximum {
  static constexpr float start() { return -std::numeric_limits<float>::infinity(); }
  static inline __attribute__((always_inline)) float join(float a, float b) { return b > a || b != b ? b : a; }
};
struct Minimum {
  static constexpr float start() { return std::numeric_limits<float>::infinity(); }
  static inline __attribute__((always_inline)) float join(float a, float b) { return b < a || b != b ? b : a; }
};

// Sixteen running values make the order of additions the same for every vector width.
constexpr int kLanes = 16;

template <class F, class X>
float reduce_run(const X* x, int64_t n, int64_t stride) {
  float lanes[kLanes];
  for (float& lane : lanes) lane = F::start();
  int64_t i = 0;
  if (stride == 1) {
    for (; i + kLanes <= n; i += kLanes) {
#pragma omp simd
      for (int k = 0; k < kLanes; ++k) lanes[k] = F::join(lanes[k], static_cast<float>(x[i + k]));
    }
  }
  for (int k = 0; i < n; ++i, k = (k + 1) % kLanes) lanes[k] = F::join(lanes[k], static_cast<float>(x[i * stride]));
  for (int width = kLanes / 2; width > 0; width /= 2)
    for (int k = 0; k < width; ++k) lanes[k] = F::join(lanes[k], lanes[k + width]);
  return lanes[0];
}

template <class F, class X, class Y>
void reduce_all(const View& x, const View& y, const Split& split, float scale) {
  const View &kept = split.kept, &reduced = split.reduced;
  Y* out = y.as<Y>();
  const X* in = x.as<X>();
  const bool columns = kept.rank > 0 && kept.strides[kept.rank - 1] == 1 && reduced.rank > 0;
  if (columns) {
    // The kept dimension is the contiguous one: whole rows are joined into a row of accumulators.
    const int64_t width = kept.dims[kept.rank - 1], outer = split.kept_count / std::max<int64_t>(1, width);
    constexpr int64_t kTile = 512;
    const int64_t tiles = (width + kTile - 1) / kTile;
    parallel_for(outer * tiles, std::max<int64_t>(1, 16384 / std::max<int64_t>(1, split.reduced_count * kTile)),
                 [&](int64_t begin, int64_t end) {
                   View rows = kept;
                   rows.rank -= 1;
                   for (int64_t task = begin; task < end; ++task) {
                     const int64_t from = task % tiles * kTile, n = std::min(kTile, width - from);
                     const X* base = in + offset_of(rows, task / tiles) + from;
                     float sums[kTile];
                     for (int64_t k = 0; k < n; ++k) sums[k] = F::start();
                     for (int64_t r = 0; r < split.reduced_count; ++r) {
                       const X* row = base + offset_of(reduced, r);
#pragma omp simd
                       for (int64_t k = 0; k < n; ++k) sums[k] = F::join(sums[k], static_cast<float>(row[k]));
                     }
                     for (int64_t k = 0; k < n; ++k) out[task / tiles * width + from + k] = Y(sums[k] * scale);
                   }
                 });
    return;
  }
  const int64_t inner = reduced.rank > 0 ? reduced.dims[reduced.rank - 1] : 1;
  const int64_t stride = reduced.rank > 0 ? reduced.strides[reduced.rank - 1] : 1;
  View outer = reduced;
  if (outer.rank > 0) outer.rank -= 1;
  const int64_t runs = inner > 0 ? split.reduced_count / inner : 0;
  parallel_for(split.kept_count, std::max<int64_t>(1, 16384 / std::max<int64_t>(1, split.reduced_count)), [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; ++at) {
      const X* base = in + offset_of(kept, at);
      float value = F::start();
      for (int64_t r = 0; r < runs; ++r) value = F::join(value, reduce_run<F>(base + offset_of(outer, r), inner, stride));
      out[at] = Y(value * scale);
    }
  });
}

}  // namespace

Status reduce(Context&, const reduce_args& a) {
  const Split split(a.x, a.dims);
  const auto kind = static_cast<Kind>(a.kind);
  return dispatch_float(a.x.dtype, [&](auto type) {
    using T = decltype(type);
    // The mean of nothing is NaN, as in PyTorch.
    const float scale = kind == Kind::mean ? 1.0f / static_cast<float>(split.reduced_count) : 1.0f;
    switch (kind) {
      case Kind::maximum:
        reduce_all<Maximum, T, T>(a.x, a.y, split, 1.0f);
        break;
      case Kind::minimum:
        reduce_all<Minimum, T, T>(a.x, a.y, split, 1.0f);
        break;
      default:
        reduce_all<Sum, T, T>(a.x, a.y, split, scale);
        break;
    }
    return Status::ok();
  });
}

}  // namespace tilewise::cpu::TILEWISE_ISA
