// Included once per instruction set, after Halves: widen(from, to) and narrow(from, to) convert kLanes elements.
#pragma once

#include "kernels/half/half.h"

namespace {

// convert(x + i, y + i) for whole vectors; what is left over is filled up to one.
template <class From, class To, class Convert>
inline void in_vectors(const From* x, To* y, int64_t n, Convert convert) {
  constexpr int kLanes = Halves::kLanes;
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) convert(x + i, y + i);
  From from[kLanes] = {};
  To to[kLanes];
  for (int64_t k = i; k < n; ++k) from[k - i] = x[k];
  convert(from, to);
  for (int64_t k = i; k < n; ++k) y[k] = to[k - i];
}

void half_to_float(const gossamer::HalfToFloatArgs& a) {
  in_vectors(a.x, a.y, a.n, [](const uint16_t* from, float* to) { Halves::widen(from, to); });
}

void float_to_half(const gossamer::FloatToHalfArgs& a) {
  in_vectors(a.x, a.y, a.n, [](const float* from, uint16_t* to) { Halves::narrow(from, to); });
}

}  // namespace
