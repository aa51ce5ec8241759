// A tile register holds 16 rows of 64 bytes. tdpbf16ps multiplies a tile of A (16 rows, 32 k) by a tile of B (16 pairs of k, 16 columns,
// the pair side by side) and adds to 16 x 16 floats; it takes 16 cycles, loading a tile 8. So a block of 32 x 32 of C, four accumulators
// fed by two tiles of A and two of B, is the smallest that computes more than it loads.
//
// Operands are packed into panels of 32 rows (A) or columns (B), a step of 32 k after the other, zero beyond the edges:
//   A [step][2][16 rows][32 k]     B [step][2][16 pairs][16 columns][2]
// These hold each other's transpose in units of 32 bits, and k-contiguous sources give A, k-strided sources give B without transposing.
//
// Tried on two Sapphire Rapids cores and left out, with no gain beyond noise or a loss: reading A where it lies, unpacked (a tenth slower
// for 16 panels of B, a row's lines share few sets of the L1 cache); prefetching the next panel of A, or the lines of C, between panels;
// panels of 128 or 256 k (a tenth slower: accumulators leave the tiles too often); the epilogue every 128 or 256 columns.
//
// Subnormal inputs and results count as zero in these instructions.
#include "gemm_amx.h"

#if defined(__GNUC__) && !defined(__clang__)
// GCC's own AVX-512 header starts from an undefined vector on purpose (its bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include <cpuid.h>
#include <immintrin.h>
#include <omp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "gemm_epilogue.h"
#include "scratch.h"

#define TILEWISE_AMX __attribute__((target("amx-tile,amx-bf16,avx512f,avx512bw,avx512vl,avx512dq")))

namespace tilewise::cpu {
namespace {

constexpr int64_t kPanel = 32, kTile = 16, kStep = 32;
constexpr int64_t kStepSize = kPanel * kStep;  // elements of one step of a panel
constexpr int64_t kTileSize = kTile * kStep;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// --- tiles

// Eight tiles of 16 rows of 64 bytes. Constant data, because GCC's _tile_loadconfig names only the first 8 bytes to the compiler, which
// then drops stores to the rest.
alignas(64) constexpr uint8_t kTileConfig[64] = {1, 0,  0, 0,  0, 0,  0, 0,  0, 0,  0,  0,  0,  0,  0,  0,  64, 0, 64,
                                                 0, 64, 0, 64, 0, 64, 0, 64, 0, 64, 0,  64, 0,  0,  0,  0,  0,  0, 0,
                                                 0, 0,  0, 0,  0, 0,  0, 0,  0, 0,  16, 16, 16, 16, 16, 16, 16, 16};

TILEWISE_AMX void configure_tiles() { _tile_loadconfig(kTileConfig); }

TILEWISE_AMX void release_tiles() { _tile_release(); }

// Where the kernel reads its rows of A: the two tiles of a step, bytes between rows, bytes between steps.
struct RowsOfA {
  const char *upper, *lower;
  int64_t row_stride, step_stride;
};

// c [16 MT, 16 NT] (+)= A B over the given steps; b: a packed panel.
template <int MT, int NT>
TILEWISE_AMX void multiply_tiles(int64_t steps, const RowsOfA& a, const bf16* b, float* c, int64_t ldc, bool accumulate) {
  const int64_t stride = ldc * 4;
  asm volatile("" ::: "memory");  // the intrinsics do not say that they read memory: what is packed must have been written
  if (accumulate) {
    _tile_loadd(0, c, stride);
    if constexpr (NT > 1) _tile_loadd(1, c + kTile, stride);
    if constexpr (MT > 1) _tile_loadd(2, c + kTile * ldc, stride);
    if constexpr (MT > 1 && NT > 1) _tile_loadd(3, c + kTile * ldc + kTile, stride);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  const char *upper = a.upper, *lower = a.lower;
  for (int64_t s = 0; s < steps; ++s) {
    _tile_loadd(4, upper, a.row_stride);
    _tile_loadd(6, b, 64);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (NT > 1) {
      _tile_loadd(7, b + kTileSize, 64);
      _tile_dpbf16ps(1, 4, 7);
    }
    if constexpr (MT > 1) {
      _tile_loadd(5, lower, a.row_stride);
      _tile_dpbf16ps(2, 5, 6);
      if constexpr (NT > 1) _tile_dpbf16ps(3, 5, 7);
    }
    upper += a.step_stride;
    lower += a.step_stride;
    b += kStepSize;
  }
  _tile_stored(0, c, stride);
  if constexpr (NT > 1) _tile_stored(1, c + kTile, stride);
  if constexpr (MT > 1) _tile_stored(2, c + kTile * ldc, stride);
  if constexpr (MT > 1 && NT > 1) _tile_stored(3, c + kTile * ldc + kTile, stride);
}

void multiply_panel(int64_t rows, int64_t columns, int64_t steps, const RowsOfA& a, const bf16* b, float* c, int64_t ldc, bool accumulate) {
  if (rows > kTile) {
    if (columns > kTile) return multiply_tiles<2, 2>(steps, a, b, c, ldc, accumulate);
    return multiply_tiles<2, 1>(steps, a, b, c, ldc, accumulate);
  }
  if (columns > kTile) return multiply_tiles<1, 2>(steps, a, b, c, ldc, accumulate);
  return multiply_tiles<1, 1>(steps, a, b, c, ldc, accumulate);
}

// --- packing

// 16 x 16 units of 32 bits.
TILEWISE_AMX inline void transpose(__m512i* r) {
  __m512i t[16];
  for (int i = 0; i < 8; ++i) {
    t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
  }
  for (int i = 0; i < 4; ++i) {
    r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
    r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
  }
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 4; ++j) {
      t[8 * i + j] = _mm512_shuffle_i32x4(r[8 * i + j], r[8 * i + 4 + j], 0x88);
      t[8 * i + 4 + j] = _mm512_shuffle_i32x4(r[8 * i + j], r[8 * i + 4 + j], 0xdd);
    }
  }
  for (int j = 0; j < 8; ++j) {
    r[j] = _mm512_shuffle_i32x4(t[j], t[8 + j], 0x88);
    r[8 + j] = _mm512_shuffle_i32x4(t[j], t[8 + j], 0xdd);
  }
}

TILEWISE_AMX inline __mmask32 mask_of(int64_t count) { return count >= 32 ? ~__mmask32{0} : (__mmask32{1} << count) - 1; }

TILEWISE_AMX inline __m512i interleave(__m256i even, __m256i odd) {
  return _mm512_or_si512(_mm512_cvtepu16_epi32(even), _mm512_slli_epi32(_mm512_cvtepu16_epi32(odd), 16));
}

// Packs one panel from source[row * ld + k] (k_contiguous) or source[k * ld + row], rows <= 32.
template <bool kIsB>
TILEWISE_AMX void pack(bf16* to, const bf16* source, int64_t ld, bool k_contiguous, int64_t rows, int64_t k) {
  if (!kIsB && k_contiguous && rows == kPanel && k % kStep == 0) {  // a copy; whole rows, because the prefetcher follows them
    for (int64_t i = 0; i < kPanel; ++i)
      for (int64_t s = 0; s < k; s += kStep) _mm512_store_si512(to + s * kPanel + i * kStep, _mm512_loadu_si512(source + i * ld + s));
    return;
  }
  for (int64_t from = 0; from < k; from += kStep) {
    __m512i r[2][16];
    const int64_t some_k = std::min(kStep, k - from);
    if (k_contiguous) {
      const __mmask32 mask = mask_of(some_k);
      const bf16* const at = source + from;
      for (int64_t i = 0; i < kPanel; ++i)
        r[i / 16][i % 16] = i < rows ? _mm512_maskz_loadu_epi16(mask, at + i * ld) : _mm512_setzero_si512();
    } else {
      // Lines are often a page apart here, in one set of the L1 cache: each is loaded once, whole.
      const __mmask32 mask = mask_of(rows);
      const bf16* at = source + from * ld;
      for (int64_t p = 0; p < kTile; ++p, at += 2 * ld) {
        const __m512i even = 2 * p < some_k ? _mm512_maskz_loadu_epi16(mask, at) : _mm512_setzero_si512();
        const __m512i odd = 2 * p + 1 < some_k ? _mm512_maskz_loadu_epi16(mask, at + ld) : _mm512_setzero_si512();
        r[0][p] = interleave(_mm512_castsi512_si256(even), _mm512_castsi512_si256(odd));
        r[1][p] = interleave(_mm512_extracti64x4_epi64(even, 1), _mm512_extracti64x4_epi64(odd, 1));
      }
    }
    bf16* const out = to + from * kPanel;
    for (int half = 0; half < 2; ++half) {
      if (kIsB == k_contiguous) transpose(r[half]);
      for (int64_t i = 0; i < kTile; ++i) _mm512_store_si512(out + half * kTileSize + i * kStep, r[half][i]);
    }
  }
}

TILEWISE_AMX void transpose_block(const float* from, int64_t ld_from, float* to, int64_t ld_to) {
  __m512i r[16];
  for (int i = 0; i < 16; ++i) r[i] = _mm512_loadu_si512(from + i * ld_from);
  transpose(r);
  for (int i = 0; i < 16; ++i) _mm512_storeu_si512(to + i * ld_to, r[i]);
}

thread_local Scratch packed_a, packed_whole_a, packed_b, products, all_sums;

Status no_memory() { return Status::error(Code::out_of_memory, "[gemm] no memory for packed operands"); }

int thread_count() { return omp_in_parallel() ? 1 : omp_get_max_threads(); }

// --- many rows: B packed once for all threads, then each thread takes panels of A

Status many_rows(const Gemm& g, const bf16* a, const bf16* b, void* c, const Epilogue& e) {
  // A block of B is to stay in half of an L2 cache, a panel of A (32 KiB) in an L1 cache.
  constexpr int64_t kMostK = 2048, kPanelK = 512, kBlockOfB = int64_t{512} << 10;
  const int64_t block_k = std::min(kMostK, ceil_div(g.k, kStep) * kStep), panels_m = ceil_div(g.m, kPanel);
  const int64_t block_n = std::min(std::max<int64_t>(4 * kPanel, kBlockOfB / block_k / kPanel * kPanel), ceil_div(g.n, kPanel) * kPanel);
  bf16* const b_packed = packed_b.take<bf16>(block_n * block_k);
  // A transposed A is packed for all threads too, along its rows: panel by panel each line of 64 bytes would lie in a page of its own.
  bf16* const a_packed = g.transpose_a ? packed_whole_a.take<bf16>(panels_m * kPanel * block_k) : nullptr;
  // Sums longer than a block of k wait here for the next one.
  const bool waits = g.k > block_k;
  const int64_t ld_sums = ceil_div(g.n, kPanel) * kPanel;
  float* const sums = waits ? all_sums.take<float>(panels_m * kPanel * ld_sums) : nullptr;
  if (!b_packed || (g.transpose_a && !a_packed) || (waits && !sums)) return no_memory();
  bool failed = false;
#pragma omp parallel num_threads(thread_count())
  {
    bf16* const a_mine = g.transpose_a ? a_packed : packed_a.take<bf16>(kPanel * kPanelK);
    float* const mine = waits ? sums : products.take<float>(kPanel * block_n);
    if (!a_mine || !mine) {
#pragma omp atomic write
      failed = true;
    }
#pragma omp barrier
    if (!failed) {
      configure_tiles();
      for (int64_t k0 = 0; k0 < g.k; k0 += block_k) {
        const int64_t k = std::min(block_k, g.k - k0), steps = ceil_div(k, kStep), panel_size = steps * kStepSize;
        if (g.transpose_a) {
#pragma omp for schedule(static) nowait
          for (int64_t s = 0; s < steps; ++s)
            for (int64_t i = 0; i < panels_m; ++i)
              pack<false>(a_packed + i * panel_size + s * kStepSize, a + (k0 + s * kStep) * g.lda + i * kPanel, g.lda, false,
                          std::min(kPanel, g.m - i * kPanel), std::min(kStep, k - s * kStep));
        }
        for (int64_t n0 = 0; n0 < g.n; n0 += block_n) {
          const int64_t columns = std::min(block_n, g.n - n0), panels_n = ceil_div(columns, kPanel);
#pragma omp for schedule(static)
          for (int64_t p = 0; p < panels_n; ++p) {
            const int64_t column = n0 + p * kPanel;
            pack<true>(b_packed + p * panel_size, g.transpose_b ? b + column * g.ldb + k0 : b + k0 * g.ldb + column, g.ldb, g.transpose_b,
                       std::min(kPanel, g.n - column), k);
          }
#pragma omp for schedule(dynamic)  // a core that also does something else takes fewer panels; sums do not depend on who computes them
          for (int64_t i = 0; i < panels_m; ++i) {
            const int64_t row = i * kPanel, rows = std::min(kPanel, g.m - row), ld = waits ? ld_sums : block_n;
            float* const product = waits ? sums + row * ld_sums + n0 : mine;
            for (int64_t kp = 0; kp < k; kp += kPanelK) {
              const int64_t some_k = std::min(kPanelK, k - kp), from = k0 + kp;
              if (!g.transpose_a) pack<false>(a_mine, a + row * g.lda + from, g.lda, true, rows, some_k);
              const bf16* const upper = g.transpose_a ? a_packed + i * panel_size + kp * kPanel : a_mine;
              const RowsOfA panel = {reinterpret_cast<const char*>(upper), reinterpret_cast<const char*>(upper + kTileSize), 64,
                                     kStepSize * 2};
              for (int64_t p = 0; p < panels_n; ++p)
                multiply_panel(rows, columns - p * kPanel, ceil_div(some_k, kStep), panel, b_packed + p * panel_size + kp * kPanel,
                               product + p * kPanel, ld, from > 0);
            }
            if (k0 + k == g.k) finish({row, rows, n0, columns, product, ld, g.alpha, g.beta}, g, c, e);
          }
        }
      }
      release_tiles();
    }
  }
  all_sums.trim();
  packed_whole_a.trim();
  return failed ? no_memory() : Status::ok();
}

// --- few rows against B stored as [n, k] (decoding): C^T = B A^T reads B where it lies, once, and packs the small A

Status few_rows(const Gemm& g, const bf16* a, const bf16* b, void* c, const Epilogue& e) {
  const int64_t steps = ceil_div(g.k, kStep), panels = ceil_div(g.m, kPanel), panel_size = steps * kStepSize;
  const int threads = static_cast<int>(std::min<int64_t>(thread_count(), ceil_div(g.n, kPanel)));
  const int64_t chunk = std::clamp<int64_t>(ceil_div(ceil_div(g.n, threads), kPanel) * kPanel, kPanel, 8 * kPanel);
  const int64_t chunks = ceil_div(g.n, chunk);
  bf16* const a_packed = packed_b.take<bf16>(panels * panel_size);
  if (!a_packed) return no_memory();
  for (int64_t p = 0; p < panels; ++p) {
    const int64_t row = p * kPanel;
    pack<true>(a_packed + p * panel_size, g.transpose_a ? a + row : a + row * g.lda, g.lda, !g.transpose_a, std::min(kPanel, g.m - row),
               g.k);
  }
  bool failed = false;
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    float* const product = products.take<float>(panels * kPanel * chunk + kPanel * kPanel);
    float* const block = product + panels * kPanel * chunk;
    const bool whole = g.k % kStep == 0;
    bf16* const edge = packed_a.take<bf16>(panel_size);
    if (!product || !edge) {
#pragma omp atomic write
      failed = true;
    } else {
      configure_tiles();
#pragma omp for schedule(static) nowait
      for (int64_t i = 0; i < chunks; ++i) {
        const int64_t n0 = i * chunk, columns = std::min(chunk, g.n - n0);
        for (int64_t j = 0; j < columns; j += kPanel) {
          const int64_t rows = std::min(kPanel, columns - j);
          const bf16* const from = b + (n0 + j) * g.ldb;
          RowsOfA panel = {reinterpret_cast<const char*>(from), reinterpret_cast<const char*>(from + kTile * g.ldb), g.ldb * 2, kStep * 2};
          if (!whole || rows < kPanel) {
            pack<false>(edge, from, g.ldb, true, rows, g.k);
            panel = {reinterpret_cast<const char*>(edge), reinterpret_cast<const char*>(edge + kTileSize), 64, kStepSize * 2};
          }
          for (int64_t p = 0; p < panels; ++p) {
            const int64_t width = std::min(kPanel, g.m - p * kPanel);
            multiply_panel(rows, width, steps, panel, a_packed + p * panel_size, block, kPanel, false);
            for (int64_t y = 0; y < rows; y += kTile)
              for (int64_t x = 0; x < width; x += kTile)
                transpose_block(block + y * kPanel + x, kPanel, product + (p * kPanel + x) * chunk + j + y, chunk);
          }
        }
        finish({0, g.m, n0, columns, product, chunk, g.alpha, g.beta}, g, c, e);
      }
      release_tiles();
    }
  }
  return failed ? no_memory() : Status::ok();
}

}  // namespace

bool has_amx() {
  static const bool has = [] {
    constexpr int kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    constexpr unsigned kBf16 = 1u << 22, kTiles = 1u << 24;
    unsigned eax, ebx, ecx, edx = 0;
    if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || !(edx & kBf16) || !(edx & kTiles)) return false;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512vl") ||
        !__builtin_cpu_supports("avx512dq"))
      return false;
    return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  }();
  return has;
}

Status amx_gemm(const Gemm& g, const bf16* a, const bf16* b, void* c, const Epilogue& e, bool* done) {
  constexpr int64_t kFewRows = 64, kFewestRows = 16;
  *done = true;
  if (g.transpose_b && g.m > 1 && g.m <= kFewRows) return few_rows(g, a, b, c, e);
  if (g.m > kFewestRows) return many_rows(g, a, b, c, e);
  *done = false;  // packing B would take longer than the product
  return Status::ok();
}

}  // namespace tilewise::cpu
