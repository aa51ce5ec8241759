// The matrix products of f32 factors.
#include "../prim/gemm.cuh"

namespace tilewise::TILEWISE_GPU {

// Eight warps of 64 × 32: both parts of the fragments have to be in registers beside the sums.
Status launch_gemm_f32(const Gpu& gpu, const GemmVariant& variant, const GemmArguments& g) {
  return launch_gemm<float, GemmShape<float, GemmTiles::kLarge, GemmTiles::kLarge, 64, 32, 1>,
                     GemmShape<float, GemmTiles::kSmall, GemmTiles::kSmall, 32, 32, 3>>(gpu, variant, g);
}

}  // namespace tilewise::TILEWISE_GPU
