// What happens to planes of cells of bytes beside convolution (cells/cells.h): into and out of float32, sums, products,
// maxima, means, any function of a byte. P pixels; plane k holds channels 4 k .. 4 k + 3; bytes of channels that do not
// exist are written as if they did and read by nobody.
//
// to_byte(t) = clamp(saturate(round(t) + zero), low, high), round half to even. All sums of floats are fused
// multiply-adds as written, so that every row gives the same bytes. Plain arrays of bytes are cells as well.
#pragma once

#include <cstdint>

#include "kernels/row.h"

namespace gossamer {

// y[c][p] = saturate(round(x[c][p] / scale) + zero); NaN gives 0. One image.
struct CellQuantizeArgs {
  int64_t channels = 0, pixels = 0;
  const float* x = nullptr;  // channels x pixels
  float scale = 1;
  int zero = 0;
  uint8_t* y = nullptr;  // planes of cells
  int64_t plane_begin = 0, plane_end = 0;
};

// y[c][p] = (x[c][p] - zero) scale. One image.
struct CellDequantizeArgs {
  int64_t channels = 0, pixels = 0;
  const uint8_t* x = nullptr;
  float scale = 1;
  int zero = 0;
  float* y = nullptr;
  int64_t plane_begin = 0, plane_end = 0;
};

// What two bytes become. y may be a or b.
struct ByteBinaryArgs {
  int64_t bytes = 0;
  const uint8_t *a = nullptr, *b = nullptr;
  bool one_cell = false;  // b is one cell of four bytes, the same for all of a
  float a_scale = 1, b_scale = 1, shift = 0;  // sums: to_byte(a_scale a + (b_scale b + shift))
  float a_zero = 0, b_zero = 0, scale = 1;  // products: to_byte(((a - a_zero) (b - b_zero)) scale)
  int zero = 0, low = 0, high = 255;
  uint8_t* y = nullptr;
};

// y[i] = table[x[i]]. y may be x.
struct ByteLookupArgs {
  int64_t bytes = 0;
  const uint8_t *x = nullptr, *table = nullptr;
  uint8_t* y = nullptr;
};

// Maxima and averages of windows, which are cut off at the border. The average of n bytes is
// to_byte(sum (scale / n) + shift); with `count_padding`, bytes of padding are x_zero and n is the same for every window.
struct CellPoolArgs {
  int64_t in_h = 1, in_w = 1, out_h = 1, out_w = 1, kernel_h = 1, kernel_w = 1, stride_h = 1, stride_w = 1;
  int64_t dilation_h = 1, dilation_w = 1, pad_top = 0, pad_left = 0;
  const uint8_t* x = nullptr;
  uint8_t* y = nullptr;
  bool count_padding = false;
  float scale = 1, shift = 0;
  int x_zero = 0, zero = 0, low = 0, high = 255;
  uint32_t* scratch = nullptr;  // cell_pool_scratch
  int64_t plane_begin = 0, plane_end = 0;
};

// The mean of each channel, (sum of x[c][p] over p - pixels zero) scale with scale the step over the number of pixels:
// as float32, or as one cell a plane, saturate(round(mean / y_scale) + y_zero).
struct CellMeanArgs {
  int64_t channels = 0, pixels = 0;
  const uint8_t* x = nullptr;
  float scale = 1;
  int zero = 0;
  float* y = nullptr;
  float y_scale = 1;
  int y_zero = 0;
  uint8_t* cells = nullptr;  // instead of y
  int64_t plane_begin = 0, plane_end = 0;
};

// Cells of scratch that pooling needs for each thread.
int64_t cell_pool_scratch(const CellPoolArgs& a);
inline constexpr int64_t kMostAveraged = 257;  // bytes of a window whose sum fits 16 bits

extern const Row<void (*)(const CellQuantizeArgs&)> kCellQuantizeKernels[kRowCount];
extern const Row<void (*)(const CellDequantizeArgs&)> kCellDequantizeKernels[kRowCount];
extern const Row<void (*)(const ByteBinaryArgs&)> kByteAddKernels[kRowCount];
extern const Row<void (*)(const ByteBinaryArgs&)> kByteMultiplyKernels[kRowCount];
extern const Row<void (*)(const ByteLookupArgs&)> kByteLookupKernels[kByteRowCount];
extern const Row<void (*)(const CellPoolArgs&)> kCellMaxPoolKernels[kRowCount];
extern const Row<void (*)(const CellPoolArgs&)> kCellAveragePoolKernels[kRowCount];
extern const Row<void (*)(const CellMeanArgs&)> kCellMeanKernels[kRowCount];

#define GOSSAMER_DECLARE(isa)                            \
  void cell_quantize_##isa(const CellQuantizeArgs&);     \
  void cell_dequantize_##isa(const CellDequantizeArgs&); \
  void byte_add_##isa(const ByteBinaryArgs&);            \
  void byte_multiply_##isa(const ByteBinaryArgs&);       \
  void byte_lookup_##isa(const ByteLookupArgs&);         \
  void cell_max_pool_##isa(const CellPoolArgs&);         \
  void cell_average_pool_##isa(const CellPoolArgs&);     \
  void cell_mean_##isa(const CellMeanArgs&);
GOSSAMER_DECLARE(portable)
GOSSAMER_DECLARE(avx2)
GOSSAMER_DECLARE(avx512)
#undef GOSSAMER_DECLARE
void byte_lookup_avx512vnni(const ByteLookupArgs&);

}  // namespace gossamer
