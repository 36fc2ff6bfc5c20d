// The loop, for a vector type `Chain`: kProducts, a constructor from x and y, `step` and `sum`.
#pragma once

#include "kernels/peak/peak.h"

namespace {

// In four-byte cells: x in each of the four bytes.
inline int32_t four_times(int x) { return static_cast<int32_t>(0x01010101u * static_cast<uint8_t>(x)); }

template <class Chain>
inline void peak(const gossamer::PeakArgs& a) {
  typename Chain::Factors factors(a.x, a.y);
  Chain chains[gossamer::kPeakChains] = {};
  for (int64_t round = 0; round < a.rounds; ++round) {
#pragma GCC unroll 12
    for (Chain& chain : chains) chain.step(factors);
  }
  *a.macs = a.rounds * gossamer::kPeakChains * Chain::kProducts;
  *a.total = 0;
  for (const Chain& chain : chains) *a.total += chain.sum();
}

}  // namespace
