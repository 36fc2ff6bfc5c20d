// Plain loops in double precision, the oracle of the tables of elementwise.h.
#pragma once

#include <cmath>
#include <limits>

#include "kernels/elementwise/elementwise.h"
#include "kernels/gemm/reference.h"

namespace gossamer {

inline double clip_reference(double x, double low, double high) { return x < low ? low : x > high ? high : x; }

inline double unary_reference_one(Unary op, double x, double a, double b) {
  switch (op) {
    case Unary::abs: return std::fabs(x);
    case Unary::clip: return clip_reference(x, a, b);
    case Unary::exp: return std::exp(x);
    case Unary::hard_sigmoid: return clip_reference(a * x + b, 0, 1);
    case Unary::hard_swish: return x * clip_reference(x / 6 + 0.5, 0, 1);
    case Unary::leaky_relu: return x < 0 ? a * x : x;
    case Unary::neg: return -x;
    case Unary::reciprocal: return 1 / x;
    case Unary::sigmoid: return 1 / (1 + std::exp(-x));
    case Unary::sqrt: return std::sqrt(x);
    case Unary::tanh: return std::tanh(x);
    case Unary::ceil: return std::ceil(x);
    case Unary::cos: return std::cos(x);
    case Unary::elu: return x < 0 ? a * std::expm1(x) : x;
    case Unary::erf: return std::erf(x);
    case Unary::floor: return std::floor(x);
    case Unary::gelu: return 0.5 * x * std::erfc(-x * 0.70710678118654752);
    case Unary::gelu_tanh: return 0.5 * x * (1 + std::tanh(0.79788456080286536 * (x + 0.044715 * x * x * x)));
    case Unary::log: return std::log(x);
    case Unary::round: return std::nearbyint(x);
    case Unary::sign: return x > 0 ? 1 : x < 0 ? -1 : x;
    case Unary::sin: return std::sin(x);
    case Unary::softplus: return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
  }
  return std::numeric_limits<double>::quiet_NaN();
}

inline double binary_reference_one(Binary op, double a, double b) {
  switch (op) {
    case Binary::add: return a + b;
    case Binary::sub: return a - b;
    case Binary::mul: return a * b;
    case Binary::div: return a / b;
    case Binary::max: return a != a ? a : a > b ? a : b;
    case Binary::min: return a != a ? a : a < b ? a : b;
    case Binary::pow: return std::pow(a, b);
    case Binary::prelu: return a < 0 ? a * b : a;
  }
  return std::numeric_limits<double>::quiet_NaN();
}

inline void unary_reference(const UnaryArgs& u) {
  for (int64_t i = 0; i < u.n; ++i) u.y[i] = static_cast<float>(unary_reference_one(u.op, u.x[i], u.a, u.b));
}

inline void round_reference(const RoundArgs& r) {
  for (int64_t i = 0; i < r.n; ++i) {
    const float steps = std::nearbyint(r.x[i] / r.scale) + r.zero;
    r.y[i] = r.scale * ((steps >= r.low ? steps > r.high ? r.high : steps : r.low) - r.zero);
  }
}

inline void binary_reference(const BinaryArgs& g) {
  for (int64_t i = 0; i < g.n; ++i) {
    const double y = binary_reference_one(g.op, g.a[i * g.a_step], g.b[i * g.b_step]);
    g.y[i] = clamp_reference(static_cast<float>(y), g.low, g.high);
  }
}

inline void affine_reference(const AffineArgs& g) {
  for (int64_t p = 0; p < g.planes; ++p) {
    for (int64_t i = p * g.inner; i < (p + 1) * g.inner; ++i) {
      const double y = double{g.x[i]} * g.scale[p % g.channels] + g.shift[p % g.channels];
      g.y[i] = clamp_reference(static_cast<float>(y), g.low, g.high);
    }
  }
}

}  // namespace gossamer
