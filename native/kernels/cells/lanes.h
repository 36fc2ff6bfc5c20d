// Storing and loading the pixels among a vector's positions, one by one: for machines that cannot compress a vector.
#pragma once

#include "kernels/cells/cells.h"

namespace {

struct Lanes;
template <int kVectors>
void finish(const gossamer::CellConvArgs& a, int64_t row, const Lanes* lanes, const Sum (&sums)[4][kVectors]);

}  // namespace

#include "kernels/cells/body.h"

namespace {

inline void store_lanes(Bytes x, void* to, const Lanes& lanes) {
  auto* p = static_cast<uint32_t*>(to);
  if (lanes.count == kLanes) return store_all(x, p);
  uint32_t all[kLanes];
  store_all(x, all);
  for (int i = 0; i < kLanes; ++i) {
    if (lanes.mask >> i & 1u) *p++ = all[i];
  }
}

inline Bytes load_lanes(const void* from, const Lanes& lanes) {
  const auto* p = static_cast<const uint32_t*>(from);
  if (lanes.count == kLanes) return load_all(p);
  uint32_t all[kLanes] = {};
  for (int i = 0; i < kLanes; ++i) {
    if (lanes.mask >> i & 1u) all[i] = *p++;
  }
  return load_all(all);
}

inline void store_lanes(Floats x, float* p, const Lanes& lanes) { store_lanes(bits_of(x), static_cast<void*>(p), lanes); }
inline Floats load_lanes(const float* p, const Lanes& lanes) {
  return floats_of(load_lanes(static_cast<const void*>(p), lanes));
}

}  // namespace

#include "kernels/cells/bytes.h"
