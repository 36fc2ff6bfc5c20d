// Included once per instruction set, after simd/*.h.
#pragma once

#include "kernels/elementwise/elementwise.h"
#include "kernels/elementwise/special.h"

namespace {

using gossamer::Binary;
using gossamer::Unary;

template <class Function>
void map(int64_t n, const float* x, float* y, const Function& f) {
  int64_t i = 0;
  for (; i + V::kLanes <= n; i += V::kLanes) f(V::load(x + i)).store(y + i);
  const int left = static_cast<int>(n - i);
  if (left > 0) f(V::load(x + i, left)).store(y + i, left);
}

void unary(const gossamer::UnaryArgs& u) {
  const auto over = [&u](const auto& f) { map(u.n, u.x, u.y, f); };
  const V a = V::broadcast(u.a), b = V::broadcast(u.b), zero = V::zero(), one = V::broadcast(1.0f);
  switch (u.op) {
    case Unary::abs: return over([](V x) { return abs(x); });
    case Unary::ceil: return over([](V x) { return ceil(x); });
    case Unary::clip: return over([=](V x) { return min_or_b(b, max_or_b(a, x)); });
    case Unary::elu:
      return over([=](V x) { return if_less(x, zero, a * expm1_small(max_or_b(V::broadcast(-60.0f), x)), x); });
    case Unary::erf: return over([](V x) { return error_function(x); });
    case Unary::exp: return over([](V x) { return exponential(x); });
    case Unary::floor: return over([](V x) { return floor(x); });
    case Unary::gelu: return over([](V x) { return gelu(x); });
    case Unary::gelu_tanh: return over([](V x) { return gelu_tanh(x); });
    case Unary::hard_sigmoid: return over([=](V x) { return limit(fma(a, x, b), 0, 1); });
    case Unary::hard_swish:
      return over([=](V x) { return x * limit(fma(x, V::broadcast(1.0f / 6), V::broadcast(0.5f)), 0, 1); });
    case Unary::leaky_relu: return over([=](V x) { return if_less(x, zero, a * x, x); });
    case Unary::log: return over([](V x) { return logarithm(x); });
    case Unary::neg: return over([=](V x) { return x * V::broadcast(-1.0f); });
    case Unary::reciprocal: return over([=](V x) { return one / x; });
    case Unary::round: return over([](V x) { return round(x); });
    case Unary::sigmoid: return over([](V x) { return sigmoid(x); });
    case Unary::sign: return over([](V x) { return sign(x); });
    case Unary::softplus: return over([](V x) { return softplus(x); });
    case Unary::sqrt: return over([](V x) { return sqrt(x); });
    case Unary::tanh: return over([](V x) { return hyperbolic_tangent(x); });
    default: return gossamer::unary_scalar(u);
  }
}

// round(x / scale) + zero in [low, high] is round(x / scale) in [low - zero, high - zero].
void round_to_steps(const gossamer::RoundArgs& r) {
  const V scale = V::broadcast(r.scale), low = V::broadcast(r.low - r.zero), high = V::broadcast(r.high - r.zero);
  map(r.n, r.x, r.y, [=](V x) { return scale * round(min_or_b(max_or_b(x / scale, low), high)); });
}

inline V lanes_of(const float* p, int64_t i, int step, int n) {
  if (step == 0) return V::broadcast(*p);
  return n == V::kLanes ? V::load(p + i) : V::load(p + i, n);
}

template <class Function>
void zip(const gossamer::BinaryArgs& g, const Function& f) {
  for (int64_t i = 0; i < g.n; i += V::kLanes) {
    const int n = static_cast<int>(g.n - i < V::kLanes ? g.n - i : V::kLanes);
    const V y = limit(f(lanes_of(g.a, i, g.a_step, n), lanes_of(g.b, i, g.b_step, n)), g.low, g.high);
    if (n == V::kLanes) y.store(g.y + i);
    else y.store(g.y + i, n);
  }
}

void binary(const gossamer::BinaryArgs& g) {
  switch (g.op) {
    case Binary::add: return zip(g, [](V a, V b) { return a + b; });
    case Binary::sub: return zip(g, [](V a, V b) { return a - b; });
    case Binary::mul: return zip(g, [](V a, V b) { return a * b; });
    case Binary::div: return zip(g, [](V a, V b) { return a / b; });
    case Binary::max: return zip(g, [](V a, V b) { return if_nan(a, a, max_or_b(a, b)); });
    case Binary::min: return zip(g, [](V a, V b) { return if_nan(a, a, min_or_b(a, b)); });
    case Binary::prelu: return zip(g, [](V a, V b) { return if_less(a, V::zero(), a * b, a); });
    default: return gossamer::binary_scalar(g);
  }
}

void affine(const gossamer::AffineArgs& g) {
  const V low = V::broadcast(g.low), high = V::broadcast(g.high);
  for (int64_t plane = 0; plane < g.planes; ++plane) {
    const V scale = V::broadcast(g.scale[plane % g.channels]), shift = V::broadcast(g.shift[plane % g.channels]);
    const auto f = [=](V x) { return min_or_b(high, max_or_b(low, fma(x, scale, shift))); };
    map(g.inner, g.x + plane * g.inner, g.y + plane * g.inner, f);
  }
}

}  // namespace
