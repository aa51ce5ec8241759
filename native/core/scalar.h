// Activations: each f and its derivative together, in plain arithmetic that compilers vectorize. kind numbers are part of the command
// stream; lib/ops/activation.ts repeats them.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#include "portable.h"

namespace tilewise {

enum class Activation : int32_t { none = 0, relu = 1, gelu = 2, gelu_tanh = 3, silu = 4, relu2 = 5 };

namespace scalar {

// e^x = 2^k * exp_fraction(x, k), k = exp_exponent(x): the integer nearest to x / ln 2, and Cephes' polynomial for the rest, 1 ulp. x from
// -87.5 to 89, or NaN.
TILEWISE_SCALAR float exp_exponent(float x) {
  // Adding and taking away 1.5 * 2^23 rounds to an integer on every processor; std::nearbyint needs SSE4.1 to vectorize.
  return (x * 1.44269504088896341f + 12582912.0f) - 12582912.0f;
}
TILEWISE_SCALAR float exp_fraction(float x, float k) {
  float r = x - k * 0.693359375f;
  r = r + k * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  return p * (r * r) + r + 1.0f;
}

// e^x for x <= 0 or NaN, 0 below -87.34 (no subnormals): what large x need is half of the work of exp.
TILEWISE_SCALAR float exp_of_nonpositive(float x) {
  const float clamped = x < -87.5f ? -87.5f : x, k = exp_exponent(clamped);
  const int32_t bits = (static_cast<int32_t>(k) + 127) << 23;
  float power;
  std::memcpy(&power, &bits, 4);
  return x < -87.33654f ? 0.0f : exp_fraction(clamped, k) * power;
}

// e^x: inf above 88.73, 0 below -87.34 (no subnormals), NaN stays NaN.
TILEWISE_SCALAR float exp(float x) {
  const float clamped = x < -87.5f ? -87.5f : x > 89.0f ? 89.0f : x, k = exp_exponent(clamped);
  // Two factors keep 2^128 out of the exponent field while the product still overflows to inf where it must.
  const int32_t n = static_cast<int32_t>(k);
  const int32_t half = n >> 1;
  const int32_t bits1 = (half + 127) << 23, bits2 = (n - half + 127) << 23;
  float s1, s2;
  std::memcpy(&s1, &bits1, 4);
  std::memcpy(&s2, &bits2, 4);
  const float y = exp_fraction(clamped, k) * s1 * s2;
  return x < -87.33654f ? 0.0f : x != x ? x : y;
}

// Rational approximation of tanh on [-7.99, 7.99] (Eigen's coefficients), error below 2 ulp.
TILEWISE_SCALAR float tanh(float x) {
  const float c = x < -7.99881172180175781f ? -7.99881172180175781f : x > 7.99881172180175781f ? 7.99881172180175781f : x;
  const float x2 = c * c;
  float p = -2.76076847742355e-16f;
  p = p * x2 + 2.00018790482477e-13f;
  p = p * x2 + -8.60467152213735e-11f;
  p = p * x2 + 5.12229709037114e-08f;
  p = p * x2 + 1.48572235717979e-05f;
  p = p * x2 + 6.37261928875436e-04f;
  p = p * x2 + 4.89352455891786e-03f;
  p = p * c;
  float q = 1.19825839466702e-06f;
  q = q * x2 + 1.18534705686654e-04f;
  q = q * x2 + 2.26843463243900e-03f;
  q = q * x2 + 4.89352518554385e-03f;
  const float y = p / q;
  const float ax = x < 0 ? -x : x;
  return ax < 0.0004f ? x : x != x ? x : y;
}

// erf: an odd polynomial below 1, 1 - exp(-x^2) * polynomial above; absolute error below 1.2e-7.
TILEWISE_SCALAR float erf(float x) {
  const float a = x < 0 ? -x : x;
  const float x2 = x * x;
  // |x| < 1: Taylor-like minimax in x^2
  float s = 7.853861353153693e-5f;
  s = s * x2 + -8.010193625184903e-4f;
  s = s * x2 + 5.188327685732524e-3f;
  s = s * x2 + -2.685381193529856e-2f;
  s = s * x2 + 1.128358514861418e-1f;
  s = s * x2 + -3.761262582423300e-1f;
  s = s * x2 + 1.128379165726710e+0f;
  const float small = s * x;
  // |x| >= 1: Abramowitz and Stegun 7.1.26's form with five terms
  const float t = 1.0f / (1.0f + 0.3275911f * a);
  float p = 1.061405429f;
  p = p * t + -1.453152027f;
  p = p * t + 1.421413741f;
  p = p * t + -0.284496736f;
  p = p * t + 0.254829592f;
  const float tail = 1.0f - p * t * scalar::exp(-x2);
  const float large = x < 0 ? -tail : tail;
  return a < 1.0f ? small : x != x ? x : large;
}

TILEWISE_SCALAR float sigmoid(float x) { return 1.0f / (1.0f + scalar::exp(-x)); }

struct None {
  static TILEWISE_SCALAR float f(float x) { return x; }
  static TILEWISE_SCALAR float df(float) { return 1.0f; }
};
struct Relu {
  static TILEWISE_SCALAR float f(float x) { return x < 0.0f ? 0.0f : x; }  // NaN stays NaN
  static TILEWISE_SCALAR float df(float x) { return x > 0.0f ? 1.0f : 0.0f; }
};
// x * Phi(x). Phi and the derivative are 1/2 plus an odd function that is flat where the normal distribution ends, so a polynomial in x^2
// gives either without exponential or division, in a third of the time: least squares over Chebyshev polynomials, reweighted until the
// error was even. Absolute error: Phi 1.1e-7, the derivative 2e-7; half of it is rounding.
struct Gelu {
  static TILEWISE_SCALAR float cumulative(float x) {
    constexpr float end = 5.4f;
    const float c = x < -end ? -end : x > end ? end : x;
    const float v = c * c * (2.0f / (end * end)) - 1.0f;
    float p = 3.9285e-04f;
    p = p * v + -1.0283653e-03f;
    p = p * v + 8.749627e-04f;
    p = p * v + -1.1864208e-03f;
    p = p * v + 3.658885e-03f;
    p = p * v + -6.7153266e-03f;
    p = p * v + 9.6512195e-03f;
    p = p * v + -1.3963327e-02f;
    p = p * v + 1.9645136e-02f;
    p = p * v + -2.5746455e-02f;
    p = p * v + 3.2116596e-02f;
    p = p * v + -3.9206814e-02f;
    p = p * v + 4.849959e-02f;
    p = p * v + -6.5328054e-02f;
    p = p * v + 1.3092811e-01f;
    return x < -end ? 0.0f : x > end ? 1.0f : 0.5f + c * p;
  }
  static TILEWISE_SCALAR float f(float x) { return x * cumulative(x); }
  static TILEWISE_SCALAR float df(float x) {
    constexpr float end = 6.0f;
    const float c = x < -end ? -end : x > end ? end : x;
    const float v = c * c * (2.0f / (end * end)) - 1.0f;
    float p = 2.77149e-03f;
    p = p * v + -6.8903915e-03f;
    p = p * v + 1.8866296e-03f;
    p = p * v + 1.6301003e-03f;
    p = p * v + 1.6030414e-02f;
    p = p * v + -3.2967295e-02f;
    p = p * v + 3.140565e-02f;
    p = p * v + -3.6337785e-02f;
    p = p * v + 5.4443076e-02f;
    p = p * v + -6.575408e-02f;
    p = p * v + 6.6866145e-02f;
    p = p * v + -6.4311445e-02f;
    p = p * v + 5.869455e-02f;
    p = p * v + -5.093632e-02f;
    p = p * v + 4.4555474e-02f;
    p = p * v + -4.2365532e-02f;
    p = p * v + 4.605772e-02f;
    p = p * v + -5.934281e-02f;
    p = p * v + 1.17897764e-01f;
    return x < -end ? 0.0f : x > end ? 1.0f : 0.5f + c * p;
  }
};
// 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))): GPT-2's
struct GeluTanh {
  static TILEWISE_SCALAR float inner(float x) { return 0.79788456080286536f * (x + 0.044715f * x * x * x); }
  // (1 + tanh u) / 2 = sigmoid(2u), which keeps its precision where tanh u is close to -1.
  static TILEWISE_SCALAR float f(float x) { return x * scalar::sigmoid(2.0f * inner(x)); }
  static TILEWISE_SCALAR float df(float x) {
    const float u = inner(x), e = scalar::exp(-2.0f * (u < 0 ? -u : u));
    const float sech2 = 4.0f * e / ((1.0f + e) * (1.0f + e));  // 1 - tanh^2 u cancels for large u
    return scalar::sigmoid(2.0f * u) + 0.5f * x * sech2 * 0.79788456080286536f * (1.0f + 3.0f * 0.044715f * x * x);
  }
};
struct Silu {
  static TILEWISE_SCALAR float f(float x) { return x * scalar::sigmoid(x); }
  static TILEWISE_SCALAR float df(float x) {
    const float s = scalar::sigmoid(x);
    return s * (1.0f + x * (1.0f - s));
  }
};
struct Relu2 {
  static TILEWISE_SCALAR float f(float x) { return x < 0.0f ? 0.0f : x * x; }
  static TILEWISE_SCALAR float df(float x) { return x > 0.0f ? 2.0f * x : 0.0f; }
};

}  // namespace scalar

// Calls body with the activation's type: dispatch_activation(kind, [&](auto act) { ... decltype(act)::f(x) ... }).
template <class Body>
inline void dispatch_activation(Activation kind, Body&& body) {
  switch (kind) {
    case Activation::none:
      return body(scalar::None{});
    case Activation::relu:
      return body(scalar::Relu{});
    case Activation::gelu:
      return body(scalar::Gelu{});
    case Activation::gelu_tanh:
      return body(scalar::GeluTanh{});
    case Activation::silu:
      return body(scalar::Silu{});
    case Activation::relu2:
      return body(scalar::Relu2{});
  }
}

}  // namespace tilewise
