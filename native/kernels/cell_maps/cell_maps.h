// What happens to planes of cells of bytes beside convolution (cells/cells.h): into and out of float32, sums, maxima,
// means. One image at a time; P pixels, plane k holds channels 4 k .. 4 k + 3; bytes of channels that do not exist are
// written as if x were zero and read by nobody.
#pragma once

#include <cstdint>

#include "kernels/row.h"

namespace gossamer {

// y[c][p] = saturate(round(x[c][p] / scale) + zero), round half to even; NaN gives 0.
struct CellQuantizeArgs {
  int64_t channels = 0, pixels = 0;
  const float* x = nullptr;  // channels x pixels
  float scale = 1;
  int zero = 0;
  uint8_t* y = nullptr;  // planes of cells
  int64_t plane_begin = 0, plane_end = 0;
};

// y[c][p] = (x[c][p] - zero) scale.
struct CellDequantizeArgs {
  int64_t channels = 0, pixels = 0;
  const uint8_t* x = nullptr;
  float scale = 1;
  int zero = 0;
  float* y = nullptr;
  int64_t plane_begin = 0, plane_end = 0;
};

// y = clamp(saturate(round(a_scale a + b_scale b + shift) + zero), low, high), byte by byte.
struct ByteAddArgs {
  const uint8_t *a = nullptr, *b = nullptr;
  float a_scale = 1, b_scale = 1, shift = 0;
  int zero = 0, low = 0, high = 255;
  uint8_t* y = nullptr;
  int64_t begin = 0, end = 0;  // bytes
};

// The greatest of each window's bytes; windows are cut off at the border.
struct CellMaxPoolArgs {
  int64_t in_h = 1, in_w = 1, out_h = 1, out_w = 1, kernel_h = 1, kernel_w = 1, stride_h = 1, stride_w = 1;
  int64_t dilation_h = 1, dilation_w = 1, pad_top = 0, pad_left = 0;
  const uint8_t* x = nullptr;
  uint8_t* y = nullptr;
  uint8_t* scratch = nullptr;  // 4 in_w bytes
  int64_t plane_begin = 0, plane_end = 0;
};

// y[c] = (sum of x[c][p] over p - pixels zero) scale, with scale the step divided by the number of pixels.
struct CellMeanArgs {
  int64_t channels = 0, pixels = 0;
  const uint8_t* x = nullptr;
  float scale = 1;
  int zero = 0;
  float* y = nullptr;
  int64_t plane_begin = 0, plane_end = 0;
};

extern const Row<void (*)(const CellQuantizeArgs&)> kCellQuantizeKernels[kRowCount];
extern const Row<void (*)(const CellDequantizeArgs&)> kCellDequantizeKernels[kRowCount];
extern const Row<void (*)(const ByteAddArgs&)> kByteAddKernels[kRowCount];
extern const Row<void (*)(const CellMaxPoolArgs&)> kCellMaxPoolKernels[kRowCount];
extern const Row<void (*)(const CellMeanArgs&)> kCellMeanKernels[kRowCount];

#define GOSSAMER_DECLARE(isa)                      \
  void cell_quantize_##isa(const CellQuantizeArgs&);     \
  void cell_dequantize_##isa(const CellDequantizeArgs&); \
  void byte_add_##isa(const ByteAddArgs&);               \
  void cell_max_pool_##isa(const CellMaxPoolArgs&);      \
  void cell_mean_##isa(const CellMeanArgs&);
GOSSAMER_DECLARE(portable)
GOSSAMER_DECLARE(avx2)
GOSSAMER_DECLARE(avx512)
#undef GOSSAMER_DECLARE

}  // namespace gossamer
