// The most that a core can do: multiply-accumulates on values that never leave their registers. Not an operator: what
// measured speeds are stated as a share of.
//
//   sum_i += x y,  `rounds` times, for i = 1 .. kPeakChains * lanes * (products per lane: 1 of floats, 4 of bytes)
//
// With enough independent chains the loop runs at the throughput of the instruction, not at its latency.
#pragma once

#include <cstdint>

#include "kernels/row.h"

namespace gossamer {

inline constexpr int kPeakChains = 12;

struct PeakArgs {
  int64_t rounds;
  int x, y;       // x: 0 .. 127, y: -128 .. 127; exact while |rounds x y| < 2^24 (floats), 2^29 (bytes)
  int64_t* macs;  // out: multiply-accumulates done
  double* total;  // out: the sum of all sums, macs x y
};

void peak_floats_portable(const PeakArgs&);
void peak_floats_avx2(const PeakArgs&);
void peak_floats_avx512(const PeakArgs&);
void peak_bytes_portable(const PeakArgs&);
void peak_bytes_avx2(const PeakArgs&);
void peak_bytes_avx512(const PeakArgs&);
void peak_bytes_avx512vnni(const PeakArgs&);

extern const Row<void (*)(const PeakArgs&)> kPeakFloatKernels[kRowCount];
extern const Row<void (*)(const PeakArgs&)> kPeakByteKernels[kByteRowCount];

}  // namespace gossamer
