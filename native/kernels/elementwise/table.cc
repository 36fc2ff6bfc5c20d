#include <cmath>
#include <limits>

#include "kernels/elementwise/elementwise.h"

namespace gossamer {

const Row<void (*)(const RoundArgs&)> kRoundKernels[kRowCount] = GOSSAMER_ROWS("round", round);
const Row<void (*)(const UnaryArgs&)> kUnaryKernels[kRowCount] = GOSSAMER_ROWS("unary", unary);
const Row<void (*)(const BinaryArgs&)> kBinaryKernels[kRowCount] = GOSSAMER_ROWS("binary", binary);
const Row<void (*)(const AffineArgs&)> kAffineKernels[kRowCount] = GOSSAMER_ROWS("affine", affine);

namespace {

float scalar(Unary op, float x) {
  switch (op) {
    case Unary::cos: return std::cos(x);
    case Unary::sin: return std::sin(x);
    default: return std::numeric_limits<float>::quiet_NaN();  // the vectorized ones never come here
  }
}

}  // namespace

void unary_scalar(const UnaryArgs& u) {
  for (int64_t i = 0; i < u.n; ++i) u.y[i] = scalar(u.op, u.x[i]);
}

void binary_scalar(const BinaryArgs& g) {  // pow, the only one that is not vectorized
  for (int64_t i = 0; i < g.n; ++i) {
    const float y = std::pow(g.a[i * g.a_step], g.b[i * g.b_step]);
    g.y[i] = y < g.low ? g.low : y > g.high ? g.high : y;
  }
}

}  // namespace gossamer
