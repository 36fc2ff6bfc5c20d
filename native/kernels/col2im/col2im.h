// The second half of a transposed convolution (ONNX ConvTranspose), NCHW, fp32: products that meet at a pixel are added.
//
//   y[o, i, j] = clamp(b[o] + sum over u, v, r, q with r s_h + u d_h - p_t = i and q s_w + v d_w - p_l = j of
//                      columns[o, u, v, r, q], low, high)
//
// The first half is a matrix product (a 1x1 convolution), columns[(o, u, v), (r, q)] = sum over c of w[c, o, u, v] x[c, r, q].
// A row of outputs is added up in scratch memory, columns sorted by their remainder modulo s_w, so that neighbouring inputs
// are neighbours there for any stride.
#pragma once

#include <cstdint>

#include "kernels/row.h"

namespace gossamer {

struct Col2imArgs {
  int64_t channels = 0;  // of the output
  int64_t in_h = 1, in_w = 1, out_h = 1, out_w = 1;
  int64_t kernel_h = 1, kernel_w = 1, stride_h = 1, stride_w = 1, dilation_h = 1, dilation_w = 1;
  int64_t pad_top = 0, pad_left = 0;
  const float* columns = nullptr;
  const float* bias = nullptr;  // channels, or none
  float* y = nullptr;
  float low = 0, high = 0;
  float* scratch = nullptr;  // col2im_scratch floats, for this thread alone
  int64_t channel_begin = 0, channel_end = 0;  // the share of one thread
};

// Floats between the columns of two remainders in scratch memory, and floats in all.
int64_t col2im_phase(const Col2imArgs& args);
int64_t col2im_scratch(const Col2imArgs& args);

extern const Row<void (*)(const Col2imArgs&)> kCol2imKernels[kRowCount];

void col2im_portable(const Col2imArgs&);
void col2im_avx2(const Col2imArgs&);
void col2im_avx512(const Col2imArgs&);

}  // namespace gossamer
