// e^x and e^x - 1 on vectors. Included once per instruction set, after simd/*.h.
//
// x = n log 2 + r with |r| <= log(2) / 2 (Cody and Waite), e^r by its Taylor polynomial: the remainder after r^7 / 7!
// is below 2^-27 of e^r, under the rounding of fp32.
#pragma once

namespace {

constexpr float kLog2e = 1.44269504088896341f;
constexpr float kLog2High = 0.693359375f, kLog2Low = -2.12194440e-4f;  // their sum is log 2; the first is short

// (e^r - 1) for |r| <= log(2) / 2, exact to the last places also where r is tiny.
inline V small_expm1(V r) {
  V p = V::broadcast(1.0f / 5040);
  const float coefficients[] = {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 1.0f / 2};
  for (const float c : coefficients) p = fma(p, r, V::broadcast(c));
  return fma(p * r, r, r);
}

inline V split(V x, V& n) {
  n = round(x * V::broadcast(kLog2e));
  return fma(n, V::broadcast(-kLog2Low), fma(n, V::broadcast(-kLog2High), x));
}

inline V exponential(V x) {
  x = min_or_b(V::broadcast(89.0f), max_or_b(V::broadcast(-104.0f), x));  // to inf and 0; NaN stays
  V n;
  const V r = split(x, n);
  return scale_binary(small_expm1(r) + V::broadcast(1.0f), n);
}

// e^x - 1 for -60 <= x <= 60.
inline V expm1_small(V x) {
  V n;
  const V r = split(x, n);
  const V scale = power_of_two(n);
  return fma(scale, small_expm1(r), scale - V::broadcast(1.0f));
}

}  // namespace
