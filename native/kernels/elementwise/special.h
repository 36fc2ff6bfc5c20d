// Functions of the exponential's family on vectors. Included once per instruction set, after simd/*.h. Polynomials are minimax
// fits (Lawson's algorithm) whose own error is under a tenth of a unit in the last place, but for the logarithm's, which is
// under a half.
#pragma once

#include "kernels/elementwise/exponential.h"

namespace {

inline V limit(V x, float low, float high) { return min_or_b(V::broadcast(high), max_or_b(V::broadcast(low), x)); }

// c[0] + c[1] x + ... + c[kCount - 1] x^(kCount - 1).
template <int kCount>
inline V polynomial(const float (&c)[kCount], V x) {
  V p = V::broadcast(c[kCount - 1]);
  for (int i = kCount - 2; i >= 0; --i) p = fma(p, x, V::broadcast(c[i]));
  return p;
}

inline V sigmoid(V x) {
  const V one = V::broadcast(1.0f);
  return one / (one + exponential(V::zero() - x));
}

// tanh |x| = e / (e + 2) with e = e^(2 |x|) - 1; it is 1 in fp32 from 9.02 on.
inline V hyperbolic_tangent(V x) {
  const V e = expm1_small(min_or_b(V::broadcast(20.0f), abs(x) + abs(x)));
  const V t = e / (e + V::broadcast(2.0f));
  return if_less(x, V::zero(), V::zero() - t, t);
}

// --- the error function --------------------------------------------------------------------------------------------------

// erf x for |x| <= 1.
inline V small_erf(V x) {
  constexpr float c[] = {0.128379166f, -0.37612626f, 0.112835854f, -0.026853811f, 0.00518832729f, -8.01019021e-4f, 7.85385055e-5f};
  return fma(x, polynomial(c, x * x), x);
}

// erfc t = 1 - erf t for t >= 1: e^-q(t). In erf's units it is exact; the relative error grows to 3e-4 at t = 9, where it is
// 1e-37, and from t = 10 on the result is 0.
inline V large_erfc(V t) {
  constexpr float c[] = {-8.34202365e-5f, 1.12920499f,     0.633680701f,   0.108285025f,    -0.0254166797f,
                         0.00443616277f,  -5.42549358e-4f, 4.32433844e-5f, -1.99581586e-6f, 4.01827478e-8f};
  return exponential(V::zero() - polynomial(c, min_or_b(V::broadcast(11.0f), t)));
}

inline V error_function(V x) {
  const V t = abs(x), one = V::broadcast(1.0f), tail = one - large_erfc(t);
  return if_less(t, one, small_erf(x), if_less(x, V::zero(), V::zero() - tail, tail));
}

// x Phi(x), Phi the normal distribution. Below zero Phi is computed as such, not as 1 minus something close to 1.
inline V gelu(V x) {
  const V half = V::broadcast(0.5f), one = V::broadcast(1.0f), u = x * V::broadcast(0.70710678f), t = abs(u);
  const V tail = half * large_erfc(t);
  const V phi = if_less(t, one, fma(half, small_erf(u), half), if_less(x, V::zero(), tail, one - tail));
  return x * phi;
}

// x (1 + tanh u) / 2 = x / (1 + e^(-2u)), u = sqrt(2 / pi) (x + 0.044715 x^3).
inline V gelu_tanh(V x) {
  const V cubic = fma(V::broadcast(0.044715f) * x * x, x, x);
  return x * sigmoid(V::broadcast(1.59576912f) * cubic);
}

// --- the logarithm -------------------------------------------------------------------------------------------------------

// log x for a positive and normal x: with x = m 2^n and f = m - 1, n log 2 + f + f^2 R(f).
inline V normal_logarithm(V x) {
  constexpr float c[] = {-0.499999881f, 0.333333254f, -0.250015825f, 0.20001976f, -0.166090772f,
                         0.141817778f,  -0.13242978f, 0.129046977f,  -0.0762211382f};
  V n;
  const V f = split_binary(x, n) - V::broadcast(1.0f), square = f * f;
  const V low = fma(square, polynomial(c, f), n * V::broadcast(kLog2Low));
  return fma(n, V::broadcast(kLog2High), f + low);
}

inline V logarithm(V x) {
  constexpr float kInfinity = __builtin_inff(), kLeast = 1.17549435e-38f, kScale = 8388608.0f;  // 2^-126, 2^23
  const V zero = V::zero(), infinity = V::broadcast(kInfinity), least = V::broadcast(kLeast);
  const V scaled = if_less(x, least, x * V::broadcast(kScale), x);
  const V shift = if_less(x, least, V::broadcast(-15.9423847f), zero);  // -23 log 2
  const V finite = normal_logarithm(scaled) + shift;
  const V positive = if_less(x, infinity, finite, infinity);
  const V at_zero = if_less(zero, x, positive, V::zero() - infinity);
  const V any = if_less(x, zero, V::broadcast(__builtin_nanf("")), at_zero);
  return if_nan(x, x, any);
}

// log(1 + e^-|x|) + max(x, 0). log(1 + y) = log(u) + (y - (u - 1)) / u with u = 1 + y rounded: the second term is what
// the rounding lost.
inline V softplus(V x) {
  const V one = V::broadcast(1.0f), y = exponential(V::zero() - abs(x)), u = one + y;
  const V sum = normal_logarithm(u) + (y - (u - one)) / u;
  return if_nan(x, x, sum + max_or_b(x, V::zero()));
}

// --- whole numbers -------------------------------------------------------------------------------------------------------

// 2^23 and beyond is whole already.
inline V floor(V x) {
  const V nearest = round(x);
  return if_less(x, nearest, nearest - V::broadcast(1.0f), nearest);
}
inline V ceil(V x) {
  const V nearest = round(x);
  return if_less(nearest, x, nearest + V::broadcast(1.0f), nearest);
}
inline V sign(V x) {
  const V zero = V::zero(), one = V::broadcast(1.0f);
  return if_nan(x, x, if_less(x, zero, zero - one, if_less(zero, x, one, x)));
}

}  // namespace
