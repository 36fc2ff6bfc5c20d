// QuantizeLinear and DequantizeLinear with one scale, element by element, in the order that tensors have anyway:
//   q = saturate(round(x / scale) + zero), round half to even, NaN to the least;    x = (q - zero) scale.
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

struct ByteDequantizeArgs {
  int64_t n = 0;
  const uint8_t* x = nullptr;
  float scale = 1;
  int zero = 0;
  bool is_signed = false;
  float* y = nullptr;
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
