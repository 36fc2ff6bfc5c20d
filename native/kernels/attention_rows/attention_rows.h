// What stands between and behind the two products of attention on bytes. Sums of the product come in with what belongs to
// their row; they stand for numbers that a quantized network rounds to the steps of a QuantizeLinear:
//   x(i, j) = scale round(clamp((sums(i, j) + start(i)) product, low, high)),    or without rounding  scale (...) product.
#pragma once

#include <cstdint>

#include "kernels/row.h"

namespace gossamer {

struct RowSums {
  int64_t rows = 0, n = 0;
  const int32_t* sums = nullptr;  // rows x n
  const int32_t* start = nullptr;  // rows
  float product = 1, scale = 1;
  bool rounds = false;
  float low = 0, high = 0;  // whole numbers: the bytes' bounds less the zero point
};

// y(i, j) = saturate(round(p(i, j) / y_scale) + y_zero) as uint8, p the softmax of x + mask along j. Bytes n .. y_stride of a
// row become 0; 64 more behind the last row are written.
struct ByteSoftmaxArgs {
  RowSums x;
  const float* mask = nullptr;  // mask(i, j) = mask[i mask_row + j mask_column], mask_column 0 or 1; or none
  int64_t mask_row = 0, mask_column = 0;
  float* scratch = nullptr;  // n + 16
  float y_scale = 1;
  int y_zero = 0;
  uint8_t* y = nullptr;
  int64_t y_stride = 0;
};

// y = x.
struct SumRowsArgs {
  RowSums x;
  float* y = nullptr;
  int64_t y_stride = 0;
};

// y(i) = start + factor times the sum of row i's bytes, which are int8 or uint8.
struct ByteSumsArgs {
  int64_t rows = 0, n = 0, stride = 0;  // n <= 2^20
  const uint8_t* x = nullptr;
  bool is_signed = false;
  int32_t factor = 1, start = 0;
  int32_t* y = nullptr;
};

extern const Row<void (*)(const ByteSumsArgs&)> kByteSumsKernels[kRowCount];
extern const Row<void (*)(const ByteSoftmaxArgs&)> kByteSoftmaxKernels[kRowCount];
extern const Row<void (*)(const SumRowsArgs&)> kSumRowsKernels[kRowCount];

void byte_sums_portable(const ByteSumsArgs&);
void byte_sums_avx2(const ByteSumsArgs&);
void byte_sums_avx512(const ByteSumsArgs&);
void byte_softmax_portable(const ByteSoftmaxArgs&);
void byte_softmax_avx2(const ByteSoftmaxArgs&);
void byte_softmax_avx512(const ByteSoftmaxArgs&);
void sum_rows_portable(const SumRowsArgs&);
void sum_rows_avx2(const SumRowsArgs&);
void sum_rows_avx512(const SumRowsArgs&);

}  // namespace gossamer
