// The oracle of kernels/peak: what the products add up to. How many there are is the row's own choice.
#pragma once

#include "kernels/peak/peak.h"

namespace gossamer {

inline void peak_reference(const PeakArgs& a) {
  *a.macs = a.rounds * kPeakChains;
  *a.total = 0;
  for (int64_t i = 0; i < *a.macs; ++i) *a.total += static_cast<double>(a.x) * a.y;
}

}  // namespace gossamer
