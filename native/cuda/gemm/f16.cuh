// The matrix products of f16 factors.
#include "../prim/gemm.cuh"

namespace tilewise::TILEWISE_GPU {

// Four warps of 64 × 64: for 64 matrix instructions they read 16 fragments' worth of shared memory, twice the ratio of 64 × 32.
Status launch_gemm_f16(const Gpu& gpu, const GemmVariant& variant, const GemmArguments& g) {
  return launch_gemm<f16, GemmShape<f16, GemmTiles::kLarge, GemmTiles::kLarge, 64, 64, 2>,
                     GemmShape<f16, GemmTiles::kSmall, GemmTiles::kSmall, 32, 32, 4>>(gpu, variant, g);
}

}  // namespace tilewise::TILEWISE_GPU
