#include <cmath>
#include <limits>

#include "kernels/elementwise/elementwise.h"

namespace gossamer {

const Row<void (*)(const UnaryArgs&)> kUnaryKernels[kRowCount] = GOSSAMER_ROWS("unary", unary);
const Row<void (*)(const BinaryArgs&)> kBinaryKernels[kRowCount] = GOSSAMER_ROWS("binary", binary);
const Row<void (*)(const AffineArgs&)> kAffineKernels[kRowCount] = GOSSAMER_ROWS("affine", affine);

namespace {

float scalar(Unary op, float x, float a) {
  switch (op) {
    case Unary::ceil: return std::ceil(x);
    case Unary::cos: return std::cos(x);
    case Unary::elu: return x < 0 ? a * std::expm1(x) : x;
    case Unary::erf: return std::erf(x);
    case Unary::floor: return std::floor(x);
    case Unary::gelu: return 0.5f * x * std::erfc(-x * 0.70710678f);  // erfc: 1 + erf cancels where x is far below 0
    case Unary::gelu_tanh: return 0.5f * x * (1 + std::tanh(0.79788456f * (x + 0.044715f * x * x * x)));
    case Unary::log: return std::log(x);
    case Unary::round: return std::nearbyint(x);
    case Unary::sign: return x > 0 ? 1.0f : x < 0 ? -1.0f : x;
    case Unary::sin: return std::sin(x);
    case Unary::softplus: return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
    default: return std::numeric_limits<float>::quiet_NaN();  // the vectorized ones never come here
  }
}

}  // namespace

void unary_scalar(const UnaryArgs& u) {
  for (int64_t i = 0; i < u.n; ++i) u.y[i] = scalar(u.op, u.x[i], u.a);
}

void binary_scalar(const BinaryArgs& g) {  // pow, the only one that is not vectorized
  for (int64_t i = 0; i < g.n; ++i) {
    const float y = std::pow(g.a[i * g.a_step], g.b[i * g.b_step]);
    g.y[i] = y < g.low ? g.low : y > g.high ? g.high : y;
  }
}

}  // namespace gossamer
