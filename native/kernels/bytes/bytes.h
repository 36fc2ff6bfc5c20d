// QuantizeLinear and DequantizeLinear with one scale, element by element, in the order that tensors have anyway:
//   q = saturate(round(x / scale) + zero), round half to even, NaN to the least;    x = (q - zero) scale,
// and what sums to it: a bias of each column, a residual, a clamp.
// q is uint8, or int8 where is_signed says so. Every row gives the same bits.
#pragma once

#include <cstdint>

#include "kernels/row.h"

namespace gossamer {

struct ByteQuantizeArgs {
  int64_t n = 0;
  const float* x = nullptr;
  float scale = 1;
  int zero = 0;
  bool is_signed = false;
  uint8_t* y = nullptr;
};

// y(i, j) = clamp((x(i, j) - zero) scale + bias(j) + residual(i, j), low, high); the product and the first sum are one
// fused operation.
struct ByteDequantizeArgs {
  int64_t rows = 1, n = 0;
  const uint8_t* x = nullptr;
  float scale = 1;
  int zero = 0;
  bool is_signed = false;
  float* y = nullptr;
  const float* bias = nullptr;  // n, or none
  const float* residual = nullptr;  // rows x n, may be y; or none
  float low = -__builtin_inff(), high = __builtin_inff();
};

extern const Row<void (*)(const ByteQuantizeArgs&)> kByteQuantizeKernels[kRowCount];
extern const Row<void (*)(const ByteDequantizeArgs&)> kByteDequantizeKernels[kRowCount];

void byte_quantize_portable(const ByteQuantizeArgs&);
void byte_quantize_avx2(const ByteQuantizeArgs&);
void byte_quantize_avx512(const ByteQuantizeArgs&);
void byte_dequantize_portable(const ByteDequantizeArgs&);
void byte_dequantize_avx2(const ByteDequantizeArgs&);
void byte_dequantize_avx512(const ByteDequantizeArgs&);

}  // namespace gossamer
