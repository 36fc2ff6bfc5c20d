// Maximum and average over windows (ONNX MaxPool, AveragePool), NCHW, fp32:
//
//   y[p, i, j] = max or mean over u, v of x[p, i s_h - p_t + u d_h, j s_w - p_l + v d_w]
//
// A maximum never sees padding; a mean counts it (as zeros) if count_padding, but nothing beyond the declared padding.
// NaN in a window gives NaN. Error of a mean: docs/numerics.md, equation (3) with k = the window's size.
#pragma once

#include <cstdint>

#include "kernels/row.h"

namespace gossamer {

struct PoolArgs {
  bool average = false, count_padding = false;
  int64_t planes = 0;  // batch times channels
  int64_t in_h = 1, in_w = 1, out_h = 1, out_w = 1;
  int64_t kernel_h = 1, kernel_w = 1, stride_h = 1, stride_w = 1, dilation_h = 1, dilation_w = 1;
  int64_t pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0;
  const float* x = nullptr;
  float* y = nullptr;
  float* scratch = nullptr;  // pool_scratch floats, for this thread alone
  int64_t plane_begin = 0, plane_end = 0;  // the share of one thread
};

// Floats: one padded row that holds each column's maximum (sum), and the size of each output column's window.
int64_t pool_scratch(const PoolArgs& args);

extern const Row<void (*)(const PoolArgs&)> kPoolKernels[kRowCount];

void pool_portable(const PoolArgs&);
void pool_avx2(const PoolArgs&);
void pool_avx512(const PoolArgs&);

}  // namespace gossamer
