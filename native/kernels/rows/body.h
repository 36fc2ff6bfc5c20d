// Included once per instruction set, after simd/*.h. Along the last dimension (inner = 1) lanes run along n and are
// combined at the end; otherwise lanes run across inner.
#pragma once

#include "kernels/elementwise/exponential.h"
#include "kernels/rows/rows.h"

namespace {

using gossamer::Reduction;

constexpr float kInfinity = __builtin_inff();

inline V max_nan(V a, V b) { return if_nan(a, a, max_or_b(a, b)); }
inline V min_nan(V a, V b) { return if_nan(a, a, min_or_b(a, b)); }
inline V vector_or_part(const float* p, int n) { return n == V::kLanes ? V::load(p) : V::load(p, n); }
inline int lanes_left(int64_t n, int64_t i) { return static_cast<int>(n - i < V::kLanes ? n - i : V::kLanes); }

inline void store_part(V x, float* p, int n) {
  if (n == V::kLanes) x.store(p);
  else x.store(p, n);
}

// combine over all lanes, or over the first n.
template <class Combine>
float across(V x, int n, const Combine& combine) {
  float lanes[V::kLanes];
  x.store(lanes);
  V result = V::broadcast(lanes[0]);
  for (int i = 1; i < n; ++i) result = combine(result, V::broadcast(lanes[i]));
  result.store(lanes);
  return lanes[0];
}

// combine over n floats, n >= 1.
template <class Combine>
float fold(const float* x, int64_t n, const Combine& combine) {
  if (n < V::kLanes) return across(V::load(x, static_cast<int>(n)), static_cast<int>(n), combine);
  V result = V::load(x);
  int64_t i = V::kLanes;
  for (; i + V::kLanes <= n; i += V::kLanes) result = combine(result, V::load(x + i));
  if (i < n) result = combine(result, V::load(x + n - V::kLanes));  // some twice: no matter to max and min
  return across(result, V::kLanes, combine);
}

// Sum of f(x[i]): four sums side by side, so that additions overlap.
template <class Function>
float sum_of(const float* x, int64_t n, const Function& f) {
  V sum[4] = {V::zero(), V::zero(), V::zero(), V::zero()};
  int64_t i = 0;
  for (; i + 4 * V::kLanes <= n; i += 4 * V::kLanes) {
    for (int s = 0; s < 4; ++s) sum[s] = sum[s] + f(V::load(x + i + s * V::kLanes));
  }
  for (; i + V::kLanes <= n; i += V::kLanes) sum[0] = sum[0] + f(V::load(x + i));
  float total = ((sum[0] + sum[1]) + (sum[2] + sum[3])).sum();
  if (i < n) {
    float lanes[V::kLanes];
    f(V::load(x + i, static_cast<int>(n - i))).store(lanes);
    for (int64_t lane = 0; lane < n - i; ++lane) total += lanes[lane];
  }
  return total;
}

void softmax_row(const float* x, int64_t n, bool logarithm, float* y) {
  const V largest = V::broadcast(fold(x, n, max_nan));
  const auto map = [n](const float* from, float* to, const auto& f) {
    for (int64_t i = 0; i < n; i += V::kLanes) {
      const int left = lanes_left(n, i);
      store_part(f(vector_or_part(from + i, left)), to + i, left);
    }
  };
  if (logarithm) {
    const float sum = sum_of(x, n, [=](V v) { return exponential(v - largest); });
    const V shift = V::broadcast(gossamer::natural_logarithm(sum));
    return map(x, y, [=](V v) { return v - largest - shift; });
  }
  map(x, y, [=](V v) { return exponential(v - largest); });
  const V scale = V::broadcast(1.0f / sum_of(y, n, [](V v) { return v; }));
  map(y, y, [=](V v) { return v * scale; });
}

void softmax_columns(const float* x, int64_t n, int64_t inner, int lanes, bool logarithm, float* y) {
  V largest = V::broadcast(-kInfinity), sum = V::zero();
  for (int64_t i = 0; i < n; ++i) largest = max_nan(largest, vector_or_part(x + i * inner, lanes));
  for (int64_t i = 0; i < n; ++i) sum = sum + exponential(vector_or_part(x + i * inner, lanes) - largest);
  float logs[V::kLanes];
  sum.store(logs);
  for (int lane = 0; lane < V::kLanes; ++lane) logs[lane] = logarithm ? gossamer::natural_logarithm(logs[lane]) : 0.0f;
  const V shift = V::load(logs);
  for (int64_t i = 0; i < n; ++i) {
    const V v = vector_or_part(x + i * inner, lanes) - largest;
    store_part(logarithm ? v - shift : exponential(v) / sum, y + i * inner, lanes);
  }
}

void softmax(const gossamer::SoftmaxArgs& s) {
  if (s.n == 0) return;
  for (int64_t o = 0; o < s.outer; ++o) {
    const int64_t at = o * s.n * s.inner;
    if (s.inner == 1) {
      softmax_row(s.x + at, s.n, s.logarithm, s.y + at);
      continue;
    }
    for (int64_t j = 0; j < s.inner; j += V::kLanes) {
      softmax_columns(s.x + at + j, s.n, s.inner, lanes_left(s.inner, j), s.logarithm, s.y + at + j);
    }
  }
}

float reduce_row(Reduction op, const float* x, int64_t n) {
  if (op == Reduction::max) return fold(x, n, max_nan);
  if (op == Reduction::min) return fold(x, n, min_nan);
  if (op == Reduction::sum_of_absolutes) return sum_of(x, n, [](V v) { return abs(v); });
  if (op == Reduction::sum_of_squares) return sum_of(x, n, [](V v) { return v * v; });
  const float sum = sum_of(x, n, [](V v) { return v; });
  return op == Reduction::mean ? sum / static_cast<float>(n) : sum;
}

inline V gathered(Reduction op, V so_far, V v) {
  switch (op) {
    case Reduction::max: return max_nan(so_far, v);
    case Reduction::min: return min_nan(so_far, v);
    case Reduction::sum_of_absolutes: return so_far + abs(v);
    case Reduction::sum_of_squares: return so_far + v * v;
    default: return so_far + v;
  }
}

V reduce_columns(Reduction op, const float* x, int64_t n, int64_t inner, int lanes) {
  const bool extreme = op == Reduction::max || op == Reduction::min;
  V result = extreme ? vector_or_part(x, lanes) : V::zero();
  for (int64_t i = 0; i < n; ++i) result = gathered(op, result, vector_or_part(x + i * inner, lanes));
  return op == Reduction::mean ? result / V::broadcast(static_cast<float>(n)) : result;
}

void reduce(const gossamer::ReduceArgs& r) {
  for (int64_t o = 0; o < r.outer; ++o) {
    const float* x = r.x + o * r.n * r.inner;
    if (r.inner == 1) {
      r.y[o] = reduce_row(r.op, x, r.n);
      continue;
    }
    for (int64_t j = 0; j < r.inner; j += V::kLanes) {
      const int lanes = lanes_left(r.inner, j);
      store_part(reduce_columns(r.op, x + j, r.n, r.inner, lanes), r.y + o * r.inner + j, lanes);
    }
  }
}

// y = (x - mean) / root * scale + shift for n elements; `step`: 0 where they share one scale and shift, else 1.
void standardize(const float* x, int64_t n, V mean, V root, const float* scale, const float* shift, int step, float* y) {
  const auto parameter = [step](const float* p, int64_t i, int left) { return step ? vector_or_part(p + i, left) : V::broadcast(*p); };
  for (int64_t i = 0; i < n; i += V::kLanes) {
    const int left = lanes_left(n, i);
    const V unit = (vector_or_part(x + i, left) - mean) / root;
    store_part(fma(unit, parameter(scale, i, left), shift ? parameter(shift, i, left) : V::zero()), y + i, left);
  }
}

void layer_norm(const gossamer::LayerNormArgs& a) {
  const float count = static_cast<float>(a.n);
  for (int64_t row = 0; row < a.outer; ++row) {
    const float* x = a.x + row * a.n;
    const V mean = a.centered ? V::broadcast(sum_of(x, a.n, [](V v) { return v; }) / count) : V::zero();
    const float variance = sum_of(x, a.n, [=](V v) { return (v - mean) * (v - mean); }) / count;
    const V root = sqrt(V::broadcast(variance + a.epsilon));
    float* y = a.y + row * a.n;
    if (a.area == 1) {
      standardize(x, a.n, mean, root, a.scale, a.shift, 1, y);
      continue;
    }
    for (int64_t c = 0; c < a.n / a.area; ++c) {
      standardize(x + c * a.area, a.area, mean, root, a.scale + c, a.shift ? a.shift + c : nullptr, 0, y + c * a.area);
    }
  }
}

}  // namespace
