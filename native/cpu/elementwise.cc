#include "elementwise.h"

namespace tilewise::cpu::TILEWISE_ISA {

template <int K>
Loop<K>::Loop(const View& shape, const View* const (&views)[K]) {
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

template <int K>
void Loop<K>::each_run(Inner inner, const void* context) const {
  constexpr int64_t kGrain = 16384;
  const int64_t length = dims[rank - 1];
  int64_t outer = 1;
  for (int i = 0; i + 1 < rank; ++i) outer *= dims[i];
  if (outer == 1) {
    parallel_for(length, kGrain, [&](int64_t begin, int64_t end) {
      int64_t offsets[K];
      for (int k = 0; k < K; ++k) offsets[k] = begin * strides[k][rank - 1];
      inner(context, offsets, end - begin);
    });
    return;
  }
  parallel_for(outer, std::max<int64_t>(1, kGrain / std::max<int64_t>(1, length)), [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; ++at) {
      int64_t offsets[K] = {};
      int64_t rest = at;
      for (int i = rank - 2; i >= 0; --i) {
        const int64_t index = rest % dims[i];
        rest /= dims[i];
        for (int k = 0; k < K; ++k) offsets[k] += index * strides[k][i];
      }
      inner(context, offsets, length);
    }
  });
}

template struct Loop<1>;
template struct Loop<2>;
template struct Loop<3>;
template struct Loop<4>;

}  // namespace tilewise::cpu::TILEWISE_ISA
