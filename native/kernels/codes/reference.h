// The oracle of every row of kCodesKernels: plain loops on codes that are not packed.
#pragma once

#include "kernels/codes/codes.h"

namespace gossamer {

// A matrix of codes for check.h. scales, zeros: row-major ceil(k / block) x n.
struct CodesCheck {
  int64_t k = 0, n = 0;
  int bits = 8;
  const uint16_t* codes = nullptr;  // row-major k x n
  const float* table = nullptr;
  int table_size = 0;
  int64_t block = 0;
  const float* scales = nullptr;
  const uint8_t* zeros = nullptr;
  int64_t first = 0;  // rows [first, k) are decoded, as a product asks for blocks that begin anywhere
  float* y = nullptr;  // (k - first) x n
};

inline void codes_reference(const CodesCheck& c) {
  for (int64_t p = c.first; p < c.k; ++p) {
    for (int64_t j = 0; j < c.n; ++j) {
      const uint16_t code = c.codes[p * c.n + j];
      const int64_t at = p / c.block * c.n + j;
      const float base = c.table ? c.table[code] : static_cast<float>(int{code} - int{c.zeros[at]});
      c.y[(p - c.first) * c.n + j] = base * c.scales[at];
    }
  }
}

}  // namespace gossamer
