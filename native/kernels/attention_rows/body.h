// Included once per instruction set, after simd/*_int.h.
#pragma once

#include "kernels/attention_rows/attention_rows.h"
#include "kernels/elementwise/exponential.h"

namespace {

struct Numbers {
  V product, scale, low, high;
  bool rounds;
  explicit Numbers(const gossamer::RowSums& a)
      : product(V::broadcast(a.product)), scale(V::broadcast(a.scale)), low(V::broadcast(a.low)), high(V::broadcast(a.high)), rounds(a.rounds) {}

  V of(I sums) const {
    V t = to_float(sums) * product;
    if (rounds) t = to_float(nearest(min_or_b(max_or_b(t, low), high)));
    return t * scale;
  }
};

void byte_sums(const gossamer::ByteSumsArgs& a) {
  for (int64_t i = 0; i < a.rows; ++i) {
    const uint8_t* x = a.x + i * a.stride;
    I sums = I::zero();
    int64_t j = 0;
    for (; j + I::kLanes <= a.n; j += I::kLanes) sums = sums + I::load_bytes(x + j, a.is_signed);
    if (j < a.n) {
      uint8_t rest[I::kLanes] = {};
      for (int64_t k = 0; j + k < a.n; ++k) rest[k] = x[j + k];
      sums = sums + I::load_bytes(rest, a.is_signed);
    }
    int32_t lanes[I::kLanes], sum = 0;
    sums.store(lanes);
    for (const int32_t lane : lanes) sum += lane;
    a.y[i] = a.start + a.factor * sum;
  }
}

void sum_rows(const gossamer::SumRowsArgs& a) {
  const Numbers numbers(a.x);
  for (int64_t i = 0; i < a.x.rows; ++i) {
    const int32_t* sums = a.x.sums + i * a.x.n;
    float* y = a.y + i * a.y_stride;
    const I start = I::broadcast(a.x.start[i]);
    int64_t j = 0;
    for (; j + V::kLanes <= a.x.n; j += V::kLanes) numbers.of(I::load(sums + j) + start).store(y + j);
    const int left = static_cast<int>(a.x.n - j);
    if (left) numbers.of(I::load(sums + j, left) + start).store(y + j, left);
  }
}

// e^x for x <= 0, with 2^-126 for what is smaller: beside the 1 that every sum of a softmax holds it adds nothing.
inline V exponential_below_zero(V x) {
  V n;
  const V r = split(max_or_b(V::broadcast(-87.0f), x), n);  // NaN stays
  return (small_expm1(r) + V::broadcast(1.0f)) * power_of_two(n);
}

// x + mask of row i into the scratch, filled up with what adds nothing to a softmax; the largest of them.
float arguments(const gossamer::ByteSoftmaxArgs& a, const Numbers& numbers, int64_t i) {
  const int32_t* sums = a.x.sums + i * a.x.n;
  const float* mask = a.mask ? a.mask + i * a.mask_row : nullptr;
  const I start = I::broadcast(a.x.start[i]);
  const auto masked = [&](V x, int64_t j, int count) __attribute__((always_inline)) {
    if (!mask) return x;
    if (a.mask_column == 0) return x + V::broadcast(*mask);
    return x + (count == V::kLanes ? V::load(mask + j) : V::load(mask + j, count));
  };
  V largest = V::broadcast(-__builtin_inff());
  int64_t j = 0;
  for (; j + V::kLanes <= a.x.n; j += V::kLanes) {
    const V x = masked(numbers.of(I::load(sums + j) + start), j, V::kLanes);
    largest = max_or_b(x, largest);
    x.store(a.scratch + j);
  }
  if (const int left = static_cast<int>(a.x.n - j)) {
    V::broadcast(-__builtin_inff()).store(a.scratch + j);
    masked(numbers.of(I::load(sums + j, left) + start), j, left).store(a.scratch + j, left);
    largest = max_or_b(V::load(a.scratch + j), largest);
  }
  float lanes[V::kLanes];
  largest.store(lanes);
  for (int k = 1; k < V::kLanes; ++k) lanes[0] = lanes[k] > lanes[0] ? lanes[k] : lanes[0];
  return lanes[0];
}

void byte_softmax(const gossamer::ByteSoftmaxArgs& args) {
  const gossamer::ByteSoftmaxArgs a = args;  // which no store of bytes can change
  const Numbers numbers(a.x);
  const V low = V::broadcast(static_cast<float>(-a.y_zero)), high = V::broadcast(static_cast<float>(255 - a.y_zero));
  const I zero = I::broadcast(a.y_zero);
  for (int64_t i = 0; i < a.x.rows; ++i) {
    const V largest = V::broadcast(arguments(a, numbers, i));
    V sum = V::zero();
    for (int64_t j = 0; j < a.x.n; j += V::kLanes) {
      const V e = exponential_below_zero(V::load(a.scratch + j) - largest);
      e.store(a.scratch + j);
      sum = sum + e;
    }
    const V scale = V::broadcast(1.0f / (sum.sum() * a.y_scale));
    uint8_t* y = a.y + i * a.y_stride;
    for (int64_t j = 0; j < a.x.n; j += V::kLanes) {
      (nearest(min_or_b(max_or_b(V::load(a.scratch + j) * scale, low), high)) + zero).store_bytes(y + j);
    }
    for (int64_t j = a.x.n; j < a.y_stride; ++j) y[j] = 0;
  }
}

}  // namespace
