// float16 to float32, which is exact, and back: rounded to nearest, ties to even, subnormal numbers too; beyond 65504
// infinity; NaN stays NaN. Every row gives the same bits (NaN is made quiet and keeps the first bits of its payload).
#pragma once

#include <cstdint>

#include "kernels/row.h"

namespace gossamer {

struct HalfToFloatArgs {
  int64_t n = 0;
  const uint16_t* x = nullptr;
  float* y = nullptr;
};

struct FloatToHalfArgs {
  int64_t n = 0;
  const float* x = nullptr;
  uint16_t* y = nullptr;
};

extern const Row<void (*)(const HalfToFloatArgs&)> kHalfToFloatKernels[kRowCount];
extern const Row<void (*)(const FloatToHalfArgs&)> kFloatToHalfKernels[kRowCount];

void half_to_float_portable(const HalfToFloatArgs&);
void half_to_float_avx2(const HalfToFloatArgs&);
void half_to_float_avx512(const HalfToFloatArgs&);
void float_to_half_portable(const FloatToHalfArgs&);
void float_to_half_avx2(const FloatToHalfArgs&);
void float_to_half_avx512(const FloatToHalfArgs&);

}  // namespace gossamer
