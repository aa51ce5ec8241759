// The instructions of native/cuda/ptx against what their models promise. One program, built twice: ptx_models_cuda runs the instructions on
// a GPU, ptx_models_simt their models on the machine of fibers. Each draws the same inputs from a seed and compares its results with plain
// arithmetic, written here from the PTX ISA; --against compares them, bit by bit, with what the other build has written.
//
//   ptx_models_simt --seed 7 --out simt.bin && ptx_models_cuda --seed 7 --against simt.bin
#include "ptx_models.cuh"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#include "cuda/errors.h"

namespace tilewise::TILEWISE_GPU {
namespace {

using namespace models;

#if defined(__CUDACC__)
constexpr const char* kSide = "cuda";
#else
constexpr const char* kSide = "simt";
#endif

// --- inputs

// splitmix64: the same numbers on both sides.
class Draw {
 public:
  explicit Draw(uint64_t seed) : state_(seed) {}
  uint32_t word() {
    state_ += 0x9e3779b97f4a7c15u;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return static_cast<uint32_t>((z ^ (z >> 31)) >> 16);
  }
  int below(int end) { return static_cast<int>(word() % static_cast<uint32_t>(end)); }
  // Sign and mantissa at random, the exponent in [low, high].
  uint32_t between(int low, int high) {
    const uint32_t bits = word();
    return (bits & 0x807fffffu) | static_cast<uint32_t>(127 + low + below(high - low + 1)) << 23;
  }
  uint32_t special() {
    const uint32_t bits = word(), sign = bits & 0x80000000u;
    return below(2) ? sign | 0x7f800000u : sign | 0x7f800001u | (bits & 0x003fffffu);
  }
  // Every kind of float: ordinary ones, wide ones, zeros, subnormals, infinities, NaN.
  uint32_t any_float() {
    const uint32_t bits = word(), sign = bits & 0x80000000u;
    switch (below(10)) {
      case 0:
        return sign;
      case 1:
        return sign | (bits & 0x007fffffu);
      case 2:
        return special();
      case 3:
      case 4:
        return bits;
      default:
        return between(-4, 3);
    }
  }

 private:
  uint64_t state_;
};

float as_float(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}
uint32_t bits_of(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return bits;
}

// The number x rounded to `digits` binary digits, no finer than 2^least: to even at ties, or away from zero. Beyond `most` an infinity.
double rounded(double x, int digits, int least, double most, bool away) {
  if (x == 0 || !std::isfinite(x)) return x;
  int exponent;
  std::frexp(x, &exponent);
  const double step = std::ldexp(1.0, std::max(exponent - digits, least));
  const double scaled = std::abs(x) / step, low = std::floor(scaled), rest = scaled - low;
  const bool up = rest > 0.5 || (rest == 0.5 && (away || std::fmod(low, 2) != 0));
  const double result = (up ? low + 1 : low) * step;
  return std::copysign(result > most ? std::numeric_limits<double>::infinity() : result, x);
}

template <class T>
double value_of(uint16_t bits) {
  T x;
  x.bits = bits;
  return static_cast<double>(static_cast<float>(x));
}
// The 16 bits nearest to a float, found by rounding the number and not its bits.
template <class T>
uint16_t nearest16(float x) {
  if (x != x) return 0x7fff;
  constexpr bool wide = std::is_same_v<T, bf16>;
  const double r = wide ? rounded(x, 8, -133, 0x1.fep127, false) : rounded(x, 11, -24, 65504.0, false);
  const uint16_t sign = std::signbit(x) ? 0x8000 : 0;
  if (std::isinf(r)) return sign | (wide ? 0x7f80 : 0x7c00);
  constexpr int kMantissa = wide ? 7 : 10, kBias = wide ? 127 : 15;
  const double size = std::abs(r);
  const double least = std::ldexp(1.0, 1 - kBias);
  if (size < least) return sign | static_cast<uint16_t>(std::ldexp(size, kBias - 1 + kMantissa));
  int exponent;
  const double fraction = std::frexp(size, &exponent);  // in [0.5, 1)
  const auto mantissa = static_cast<uint16_t>(std::ldexp(fraction, kMantissa + 1));
  return static_cast<uint16_t>(sign | ((exponent - 1 + kBias) << kMantissa) | (mantissa & ((1 << kMantissa) - 1)));
}

// --- what is right

// A word of a result. NaN is NaN, whatever its bits.
struct Expected {
  enum Kind { word, halves_bf16, halves_f16, number, near } kind;
  uint32_t bits;                  // word, halves, number
  double value, tolerance, unit;  // near: off by at most `tolerance`, reported in `unit`s
};

Expected exactly(uint32_t bits) { return {Expected::word, bits, 0, 0, 0}; }

bool is_nan(uint32_t bits) { return (bits & 0x7fffffffu) > 0x7f800000u; }

template <class T>
bool same_half(uint16_t a, uint16_t b) {
  const auto nan = [](uint16_t x) { return value_of<T>(x) != value_of<T>(x); };
  return a == b || (nan(a) && nan(b));
}

// Whether the two sides agree on a word.
bool agree(Expected::Kind kind, uint32_t a, uint32_t b) {
  switch (kind) {
    case Expected::halves_bf16:
      return same_half<bf16>(static_cast<uint16_t>(a), static_cast<uint16_t>(b)) &&
             same_half<bf16>(static_cast<uint16_t>(a >> 16), static_cast<uint16_t>(b >> 16));
    case Expected::halves_f16:
      return same_half<f16>(static_cast<uint16_t>(a), static_cast<uint16_t>(b)) &&
             same_half<f16>(static_cast<uint16_t>(a >> 16), static_cast<uint16_t>(b >> 16));
    case Expected::number:
      return a == b || (is_nan(a) && is_nan(b));
    default:
      return a == b;
  }
}

// --- the checks

struct Check {
  std::string name;
  int in_words, out_words;  // of a problem
  void (*draw)(Draw&, int problem, uint32_t* in);
  void (*expect)(const uint32_t* in, Expected* out);
  void (*kernel)(const uint32_t* in, uint32_t* out);
  unsigned threads = 32;  // of a block, which has one problem
};

void draw_rows(Draw& draw, uint32_t* rows) {
  for (uint32_t i = 0; i < 32; ++i) rows[i] = i;
  for (int i = 31; i > 0; --i) std::swap(rows[i], rows[draw.below(i + 1)]);
}

// Where halfword i of register m of a lane lies in the matrices: row of the tile (by the rows that lanes gave), halfword of the row.
template <bool Transposed>
void place(int lane, int m, int i, const uint32_t* rows, int* row, int* half) {
  const int across = 2 * (lane % 4) + i, down = lane / 4;
  *row = static_cast<int>(rows[8 * m + (Transposed ? across : down)]);
  *half = Transposed ? down : across;
}
uint16_t half_of(const uint32_t* words, int half) { return static_cast<uint16_t>(words[half / 2] >> (16 * (half % 2))); }

template <int Count, bool Transposed>
Check load_check() {
  return {"ldmatrix.x" + std::to_string(Count) + (Transposed ? ".trans" : ""),
          kTileWords + 32,
          32 * Count,
          [](Draw& draw, int, uint32_t* in) {
            for (int i = 0; i < kTileWords; ++i) in[i] = draw.word();
            draw_rows(draw, in + kTileWords);
          },
          [](const uint32_t* in, Expected* out) {
            for (int lane = 0; lane < 32; ++lane)
              for (int m = 0; m < Count; ++m) {
                uint32_t bits = 0;
                for (int i = 0; i < 2; ++i) {
                  int row, half;
                  place<Transposed>(lane, m, i, in + kTileWords, &row, &half);
                  bits |= static_cast<uint32_t>(half_of(in + 4 * row, half)) << (16 * i);
                }
                out[lane * Count + m] = exactly(bits);
              }
          },
          load_matrix_kernel<Count, Transposed>};
}

template <int Count, bool Transposed>
Check store_check() {
  return {"stmatrix.x" + std::to_string(Count) + (Transposed ? ".trans" : ""),
          32 * (Count + 1),
          kTileWords,
          [](Draw& draw, int, uint32_t* in) {
            for (int i = 0; i < 32 * Count; ++i) in[i] = draw.word();
            draw_rows(draw, in + 32 * Count);
          },
          [](const uint32_t* in, Expected* out) {
            for (int i = 0; i < kTileWords; ++i) out[i] = exactly(kUntouched);
            for (int lane = 0; lane < 32; ++lane)
              for (int m = 0; m < Count; ++m)
                for (int i = 0; i < 2; ++i) {
                  int row, half;
                  place<Transposed>(lane, m, i, in + 32 * Count, &row, &half);
                  uint32_t& word = out[4 * row + half / 2].bits;
                  const int shift = 16 * (half % 2);
                  word = (word & ~(0xffffu << shift)) | static_cast<uint32_t>(half_of(in + lane * Count + m, i)) << shift;
                }
          },
          store_matrix_kernel<Count, Transposed>};
}

// The fragments as the PTX ISA draws them: element i of register r of a lane, as (row, k) of A and (k, column) of B.
template <class T>
struct Fragments {
  static constexpr int kDepth = kMmaDepth<T>, kPer = std::is_same_v<T, tf32> ? 1 : 2;
  static void a(int lane, int r, int i, int* row, int* k) {
    *row = lane / 4 + (r % 2 == 1 ? 8 : 0);
    *k = kPer * (lane % 4) + i + (r >= 2 ? kDepth / 2 : 0);
  }
  static void b(int lane, int r, int i, int* k, int* column) {
    *k = kPer * (lane % 4) + i + (r == 1 ? kDepth / 2 : 0);
    *column = lane / 4;
  }
  static double element(uint32_t word, int i) {
    if constexpr (std::is_same_v<T, tf32>)
      return static_cast<double>(as_float(word & 0xffffe000u));  // 10 bits of mantissa; the rest is not looked at
    else
      return value_of<T>(static_cast<uint16_t>(word >> (16 * i)));
  }
};

// A factor of a product: the kinds take turns by problem.
template <class T>
uint32_t draw_factor(Draw& draw, int problem) {
  const auto one = [&]() -> uint32_t {
    switch (problem % 6) {
      case 0:  // small integers: all sums are exact
        return bits_of(static_cast<float>(draw.below(17) - 8));
      case 1:
        return draw.between(-3, 2);
      case 2:  // half of them nothing
        return draw.below(2) ? draw.between(-3, 2) : draw.word() & 0x80000000u;
      case 3:  // far apart, so that small terms are shifted out
        return std::is_same_v<T, f16> ? draw.between(-14, 14) : draw.between(-40, 40);
      case 4:  // subnormal among ordinary ones
        if constexpr (std::is_same_v<T, f16>)
          return draw.below(2) ? draw.between(-23, -15) : draw.between(-3, 2);
        else
          return draw.below(2) ? draw.word() & 0x807fffffu : draw.between(-3, 2);
      default:  // an infinity or a NaN here and there
        return draw.below(64) ? draw.between(-3, 2) : draw.special();
    }
  };
  if constexpr (std::is_same_v<T, tf32>) {
    const uint32_t bits = one();
    // A NaN must be one in the bits that are looked at.
    return is_nan(bits) ? bits | 0x00400000u : bits;
  } else {
    const uint32_t low = nearest16<T>(as_float(one()));
    return low | static_cast<uint32_t>(nearest16<T>(as_float(one()))) << 16;
  }
}

// How far a sum may be from the exact one. The order in which the hardware adds, and what it cuts off, are not documented. It is known to
// align the terms to the largest of them and to truncate what does not fit (Fasi, Higham, Mikaitis and Pranesh, "Numerical behavior of
// NVIDIA tensor cores", PeerJ Computer Science 2021): a unit of 2^-23 of the largest magnitude for each of K + 1 terms, and one for
// rounding.
template <class T>
constexpr double kUnits = kMmaDepth<T> + 2;

template <class T>
void expect_mma(const uint32_t* in, Expected* out) {
  using F = Fragments<T>;
  static double a[16][F::kDepth], b[F::kDepth][8];
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < F::kPer; ++i) {
      int row, k, column;
      for (int r = 0; r < 4; ++r) F::a(lane, r, i, &row, &k), a[row][k] = F::element(in[lane * 10 + r], i);
      for (int r = 0; r < 2; ++r) F::b(lane, r, i, &k, &column), b[k][column] = F::element(in[lane * 10 + 4 + r], i);
    }
  for (int lane = 0; lane < 32; ++lane)
    for (int r = 0; r < 4; ++r) {
      const int row = lane / 4 + (r >= 2 ? 8 : 0), column = 2 * (lane % 4) + r % 2;
      const double d = as_float(in[lane * 10 + 6 + r]);
      long double sum = d;
      double largest = std::abs(d);
      bool whole = d == std::floor(d) && std::abs(d) < 65536;
      for (int k = 0; k < F::kDepth; ++k) {
        const double term = a[row][k] * b[k][column];  // exact
        sum += term;
        largest = std::max(largest, std::abs(term));
        whole = whole && term == std::floor(term) && std::abs(term) < 65536;
      }
      const auto value = static_cast<double>(sum);
      Expected& e = out[lane * 4 + r];
      if (!std::isfinite(value)) {
        e = {Expected::number, bits_of(static_cast<float>(value)), 0, 0, 0};
      } else {
        const double unit = std::max(std::ldexp(std::max(largest, std::abs(value)), -23), 0x1p-149);
        e = {Expected::near, 0, value, whole ? 0 : kUnits<T> * unit, unit};
      }
    }
}

template <class T>
Check mma_check(const char* name) {
  return {name,
          320,
          128,
          [](Draw& draw, int problem, uint32_t* in) {
            for (int lane = 0; lane < 32; ++lane) {
              for (int i = 0; i < 6; ++i) in[lane * 10 + i] = draw_factor<T>(draw, problem);
              for (int i = 6; i < 10; ++i) in[lane * 10 + i] = draw_factor<tf32>(draw, problem);
            }
          },
          expect_mma<T>,
          mma_kernel<T>};
}

template <class T>
Check product_check(const char* name) {
  return {name,
          4 * 24 * 8,
          128,
          [](Draw& draw, int, uint32_t* in) {
            for (int i = 0; i < 4 * 24 * 8; ++i) in[i] = draw_factor<T>(draw, 0);
          },
          [](const uint32_t* in, Expected* out) {
            for (int row = 0; row < 16; ++row)
              for (int column = 0; column < 8; ++column) {
                double sum = 0;
                for (int k = 0; k < 64; ++k)
                  sum += value_of<T>(half_of(in + 32 * row, k)) * value_of<T>(half_of(in + 32 * (16 + column), k));
                out[row * 8 + column] = {Expected::near, 0, sum, 0, 1};
              }
          },
          product_kernel<T>};
}

// Floats of every kind; a third of them on the middle between two numbers of `digits` binary digits, where rounding must choose.
template <int Digits>
uint32_t draw_rounding(Draw& draw) {
  const uint32_t bits = draw.any_float();
  if (draw.below(3) || is_nan(bits)) return bits;
  constexpr int kRest = 24 - Digits;
  return (bits & ~((1u << kRest) - 1)) | 1u << (kRest - 1);
}

template <class T>
Check pack_check(const char* name) {
  constexpr int kDigits = std::is_same_v<T, bf16> ? 8 : 11;
  return {name,
          64,
          32,
          [](Draw& draw, int, uint32_t* in) {
            for (int i = 0; i < 64; ++i)
              in[i] = std::is_same_v<T, f16> && draw.below(4) == 0 ? draw.between(-26, 16) : draw_rounding<kDigits>(draw);
          },
          [](const uint32_t* in, Expected* out) {
            for (int i = 0; i < 32; ++i)
              out[i] = {std::is_same_v<T, bf16> ? Expected::halves_bf16 : Expected::halves_f16,
                        nearest16<T>(as_float(in[2 * i])) | static_cast<uint32_t>(nearest16<T>(as_float(in[2 * i + 1]))) << 16, 0, 0, 0};
          },
          pack_kernel<T>};
}

Check to_tf32_check() {
  return {"cvt.rna.tf32.f32",
          32,
          32,
          [](Draw& draw, int, uint32_t* in) {
            for (int i = 0; i < 32; ++i) in[i] = draw_rounding<11>(draw);
          },
          [](const uint32_t* in, Expected* out) {
            for (int i = 0; i < 32; ++i) {
              const float x = as_float(in[i]);
              const auto r = static_cast<float>(rounded(x, 11, -136, 0x1.ffcp127, true));
              out[i] = {Expected::number, x != x ? 0x7fc00000u : bits_of(r), 0, 0, 0};
            }
          },
          to_tf32_kernel};
}

Check exp2_check() {
  return {"ex2.approx.ftz.f32",
          32,
          32,
          [](Draw& draw, int, uint32_t* in) {
            for (int i = 0; i < 32; ++i) in[i] = draw.below(2) ? draw.any_float() : draw.between(-12, 7);
          },
          [](const uint32_t* in, Expected* out) {
            for (int i = 0; i < 32; ++i) {
              const float x = as_float(in[i]);
              const double value = std::exp2(static_cast<double>(x));
              constexpr double kLeast = 0x1p-126, kEdge = kLeast * 0x1p-21;
              Expected& e = out[i];
              if (x != x || value >= 0x1p128)
                e = {Expected::number, x != x ? 0x7fc00000u : 0x7f800000u, 0, 0, 0};
              else if (value < kLeast - kEdge)
                e = {Expected::number, 0, 0, 0, 0};
              else if (value < kLeast + kEdge)  // on either side of what is flushed
                e = {Expected::near, 0, value, kLeast, kLeast};
              else {
                int exponent;
                std::frexp(value, &exponent);
                const double ulp = std::ldexp(1.0, exponent - 24);
                e = {Expected::near, 0, value, 2 * ulp, ulp};
              }
            }
          },
          exp2_kernel};
}

template <int Bytes>
Check copy_check() {
  return {"cp.async of " + std::to_string(Bytes) + " bytes",
          kTileWords + 32,
          kTileWords,
          [](Draw& draw, int, uint32_t* in) {
            for (int i = 0; i < kTileWords; ++i) in[i] = draw.word();
            for (int i = 0; i < 32; ++i) in[kTileWords + i] = static_cast<uint32_t>(draw.below(2) ? Bytes : draw.below(Bytes + 1));
          },
          [](const uint32_t* in, Expected* out) {
            for (int lane = 0; lane < 32; ++lane) {
              unsigned char row[16];
              for (int i = 0; i < 4; ++i) std::memcpy(row + 4 * i, &kUntouched, 4);
              std::memset(row, 0, Bytes);
              std::memcpy(row, in + 4 * lane, in[kTileWords + lane]);
              for (int i = 0; i < 4; ++i) {
                uint32_t word;
                std::memcpy(&word, row + 4 * i, 4);
                out[4 * lane + i] = exactly(word);
              }
            }
          },
          copy_kernel<Bytes>};
}

Check groups_check() {
  return {"cp.async in groups",
          kTileWords,
          kTileWords,
          [](Draw& draw, int, uint32_t* in) {
            for (int i = 0; i < kTileWords; ++i) in[i] = draw.word();
          },
          [](const uint32_t* in, Expected* out) {
            for (int i = 0; i < kTileWords; ++i) out[i] = exactly(in[i]);
          },
          copy_groups_kernel};
}

Check named_barrier_check() {
  return {"bar.sync and bar.arrive",
          32,
          32,
          [](Draw& draw, int, uint32_t* in) {
            for (int i = 0; i < 32; ++i) in[i] = draw.word();
          },
          [](const uint32_t* in, Expected* out) {
            for (int i = 0; i < 32; ++i) out[i] = exactly(~in[i]);
          },
          named_barrier_kernel,
          64};
}

std::vector<Check> all_checks() {
  return {load_check<1, false>(),
          load_check<1, true>(),
          load_check<2, false>(),
          load_check<2, true>(),
          load_check<4, false>(),
          load_check<4, true>(),
          store_check<1, false>(),
          store_check<1, true>(),
          store_check<2, false>(),
          store_check<2, true>(),
          store_check<4, false>(),
          store_check<4, true>(),
          mma_check<bf16>("mma.m16n8k16 of bf16"),
          mma_check<f16>("mma.m16n8k16 of f16"),
          mma_check<tf32>("mma.m16n8k8 of tf32"),
          product_check<bf16>("swizzled product of bf16"),
          product_check<f16>("swizzled product of f16"),
          pack_check<bf16>("cvt.rn.bf16x2.f32"),
          pack_check<f16>("cvt.rn.f16x2.f32"),
          to_tf32_check(),
          exp2_check(),
          copy_check<4>(),
          copy_check<8>(),
          copy_check<16>(),
          groups_check(),
          named_barrier_check()};
}

// --- running and comparing

[[noreturn]] void stop(const std::string& why) {
  std::fprintf(stderr, "ptx_models %s: %s\n", kSide, why.c_str());
  std::exit(2);
}
void require(const Status& status) {
  if (!status) stop(status.message);
}
void require(cudaError_t error, const char* doing) { require(status_of(error, doing)); }

std::vector<uint32_t> run(const Check& check, const Gpu& gpu, const std::vector<uint32_t>& in, int problems) {
  auto* stream = static_cast<cudaStream_t>(gpu.stream);
  std::vector<uint32_t> out(static_cast<size_t>(problems) * check.out_words);
  void *from = nullptr, *to = nullptr;
  require(cudaMalloc(&from, in.size() * 4), "cudaMalloc");
  require(cudaMalloc(&to, out.size() * 4), "cudaMalloc");
  require(cudaMemsetAsync(to, 0xff, out.size() * 4, stream), "poisoning");
  require(cudaMemcpyAsync(from, in.data(), in.size() * 4, cudaMemcpyHostToDevice, stream), "uploading");
  require(launch(gpu, LaunchShape{check.name.c_str(), dim3(static_cast<unsigned>(problems)), dim3(check.threads)}, check.kernel,
                 static_cast<const uint32_t*>(from), static_cast<uint32_t*>(to)));
  require(cudaMemcpyAsync(out.data(), to, out.size() * 4, cudaMemcpyDeviceToHost, stream), "downloading");
  require(cudaStreamSynchronize(stream), check.name.c_str());
  require(cudaFree(from), "cudaFree");
  require(cudaFree(to), "cudaFree");
  return out;
}

std::string hex(uint32_t bits) {
  char text[40];
  std::snprintf(text, sizeof text, "%08x (%.9g)", bits, static_cast<double>(as_float(bits)));
  return text;
}

struct Options {
  uint64_t seed = 1;
  int problems = 240;
  std::string out, against;
};

Options parse(int count, char** arguments) {
  Options options;
  for (int i = 1; i + 1 < count; i += 2) {
    const std::string name = arguments[i], value = arguments[i + 1];
    if (name == "--seed")
      options.seed = std::strtoull(value.c_str(), nullptr, 10);
    else if (name == "--problems")
      options.problems = std::atoi(value.c_str());
    else if (name == "--out")
      options.out = value;
    else if (name == "--against")
      options.against = value;
    else
      stop("unknown option " + name);
  }
  if (count % 2 == 0 || options.problems < 1) stop("options: --seed N --problems N --out FILE --against FILE");
  return options;
}

// A file: seed, problems, then the results of one check after another.
std::vector<uint32_t> read_file(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "rb");
  if (!file) stop("cannot read " + path);
  std::fseek(file, 0, SEEK_END);
  std::vector<uint32_t> words(static_cast<size_t>(std::ftell(file)) / 4);
  std::rewind(file);
  if (std::fread(words.data(), 4, words.size(), file) != words.size()) stop("cannot read " + path);
  std::fclose(file);
  return words;
}

int run_all(const Options& options) {
  cudaStream_t stream;
  require(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "making a stream");
  Gpu gpu;
  gpu.stream = stream;
  const std::vector<uint32_t> header = {static_cast<uint32_t>(options.seed), static_cast<uint32_t>(options.seed >> 32),
                                        static_cast<uint32_t>(options.problems)};
  std::vector<uint32_t> written = header, theirs;
  if (!options.against.empty()) {
    theirs = read_file(options.against);
    if (theirs.size() < header.size() || !std::equal(header.begin(), header.end(), theirs.begin()))
      stop(options.against + " is of another seed or number of problems");
  }
  int failed = 0;
  const std::vector<Check> checks = all_checks();
  for (size_t c = 0; c < checks.size(); ++c) {
    const Check& check = checks[c];
    Draw draw(options.seed * 1000003 + c);
    std::vector<uint32_t> in(static_cast<size_t>(options.problems) * check.in_words);
    for (int p = 0; p < options.problems; ++p) check.draw(draw, p, in.data() + static_cast<size_t>(p) * check.in_words);
    const std::vector<uint32_t> out = run(check, gpu, in, options.problems);
    const size_t start = written.size();
    written.insert(written.end(), out.begin(), out.end());
    if (!theirs.empty() && theirs.size() < written.size()) stop(options.against + " ends early");

    std::vector<Expected> expected(static_cast<size_t>(check.out_words));
    uint64_t wrong = 0, differing = 0;
    double furthest = 0, furthest_ulps = 0, allowed = 0;
    std::string first;
    for (int p = 0; p < options.problems; ++p) {
      check.expect(in.data() + static_cast<size_t>(p) * check.in_words, expected.data());
      for (int i = 0; i < check.out_words; ++i) {
        const Expected& e = expected[static_cast<size_t>(i)];
        const size_t at = static_cast<size_t>(p) * check.out_words + i;
        bool right;
        if (e.kind == Expected::near) {
          const double off = std::abs(static_cast<double>(as_float(out[at])) - e.value);
          right = off <= e.tolerance;  // false for NaN
          int exponent;
          std::frexp(e.value, &exponent);
          if (off / e.unit > furthest) furthest = off / e.unit;
          furthest_ulps = std::max(furthest_ulps, off / std::ldexp(1.0, std::max(exponent - 24, -149)));
          allowed = std::max(allowed, e.tolerance / e.unit);
          if (!theirs.empty() && out[at] != theirs[start + at]) ++differing;
        } else {
          right = agree(e.kind, out[at], e.bits);
          if (!theirs.empty() && !agree(e.kind, out[at], theirs[start + at])) right = false;
        }
        if (right) continue;
        if (wrong++ == 0)
          first = "problem " + std::to_string(p) + ", word " + std::to_string(i) + ": " + hex(out[at]) + ", expected " +
                  (e.kind == Expected::near ? std::to_string(e.value) : hex(e.bits)) +
                  (theirs.empty() ? "" : ", the other side " + hex(theirs[start + at]));
      }
    }
    std::string note;
    if (allowed > 0) {
      char text[200];
      std::snprintf(text, sizeof text, ": largest error %.3g of %.3g units allowed, %.3g ulp", furthest, allowed, furthest_ulps);
      note = text;
      if (!theirs.empty())
        note += ", " + std::to_string(differing) + " of " + std::to_string(out.size()) + " words are not the other side's";
    }
    std::printf("ptx_models %s: %s: %s%s\n", kSide, check.name.c_str(), wrong == 0 ? "ok" : "FAILED", note.c_str());
    if (wrong > 0) {
      ++failed;
      std::printf("ptx_models %s:   %llu words wrong; %s\n", kSide, static_cast<unsigned long long>(wrong), first.c_str());
    }
  }
  require(cudaStreamDestroy(stream), "giving the stream back");
  if (!options.out.empty()) {
    std::FILE* file = std::fopen(options.out.c_str(), "wb");
    if (!file || std::fwrite(written.data(), 4, written.size(), file) != written.size() || std::fclose(file) != 0)
      stop("cannot write " + options.out);
  }
  std::printf("ptx_models %s: %zu checks of %d problems, seed %llu%s: %d failed\n", kSide, checks.size(), options.problems,
              static_cast<unsigned long long>(options.seed), options.against.empty() ? "" : ", against the other side", failed);
  return failed == 0 ? 0 : 1;
}

}  // namespace

int run_models(int count, char** arguments) { return run_all(parse(count, arguments)); }

}  // namespace tilewise::TILEWISE_GPU

int main(int count, char** arguments) { return tilewise::TILEWISE_GPU::run_models(count, arguments); }
