// Included once per instruction set, after Halves: widen(from, to) and narrow(from, to) convert kLanes elements.
#pragma once

#include "kernels/half/half.h"

namespace {

void half_to_float(const gossamer::HalfToFloatArgs& a) {
  constexpr int kLanes = Halves::kLanes;
  int64_t i = 0;
  for (; i + kLanes <= a.n; i += kLanes) Halves::widen(a.x + i, a.y + i);
  uint16_t from[kLanes] = {};
  float to[kLanes];
  for (int64_t k = i; k < a.n; ++k) from[k - i] = a.x[k];
  Halves::widen(from, to);
  for (int64_t k = i; k < a.n; ++k) a.y[k] = to[k - i];
}

void float_to_half(const gossamer::FloatToHalfArgs& a) {
  constexpr int kLanes = Halves::kLanes;
  int64_t i = 0;
  for (; i + kLanes <= a.n; i += kLanes) Halves::narrow(a.x + i, a.y + i);
  float from[kLanes] = {};
  uint16_t to[kLanes];
  for (int64_t k = i; k < a.n; ++k) from[k - i] = a.x[k];
  Halves::narrow(from, to);
  for (int64_t k = i; k < a.n; ++k) a.y[k] = to[k - i];
}

}  // namespace
