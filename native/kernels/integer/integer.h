// Functions of integer-only transformers after I-BERT (Kim et al. 2021): softmax, GELU and layer normalization without one
// floating-point operation. Plain functions of int32; every division and root is exact, so that there is one right result:
// docs/numerics.md, equations (13) to (16).
#pragma once

#include <cstdint>

namespace gossamer {

inline int32_t saturated_int32(int64_t x) { return static_cast<int32_t>(x < INT32_MIN ? INT32_MIN : x > INT32_MAX ? INT32_MAX : x); }

// The greatest whole number not above a / b, b > 0.
inline int64_t floor_divide(int64_t a, int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

// a / b to the nearest whole number, half up; b > 0, |a| < 2^61, b < 2^61.
inline int64_t round_divide(int64_t a, int64_t b) { return floor_divide(2 * a + b, 2 * b); }

// The greatest whole number whose square is not above x, by Newton's method from above.
inline int64_t integer_root(uint64_t x) {
  if (x == 0) return 0;
  int bits = 64 - __builtin_clzll(x);
  uint64_t root = uint64_t{1} << ((bits + 1) / 2);
  for (;;) {
    const uint64_t next = (root + x / root) / 2;
    if (next >= root) return static_cast<int64_t>(root);
    root = next;
  }
}

// e^-t = 2^-z e^-r with t = z ln2 + r, and a polynomial of the second degree for e^-r: (b - r)^2 + c.
struct IntegerExponential {
  int64_t ln2 = 1, b = 0, c = 0;

  int64_t at(int64_t distance) const {  // distance >= 0
    const int64_t halvings = distance / ln2, r = distance - halvings * ln2;
    return halvings > 30 ? 0 : ((b - r) * (b - r) + c) >> halvings;
  }
};

// x (c + sign(x) (c - (min(|x|, b) - b)^2)); saturates.
inline int32_t integer_gelu(int32_t x, int64_t b, int64_t c) {
  const int64_t size = x < 0 ? -int64_t{x} : x, rest = (size < b ? size : b) - b;
  const int64_t erf = c - rest * rest;
  return saturated_int32(x * (c + (x < 0 ? -erf : x > 0 ? erf : 0)));
}

}  // namespace gossamer
