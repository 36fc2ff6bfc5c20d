// Depthwise convolution: every group has one input channel (ONNX Conv with group = C), NCHW, fp32.
//
//   y[n, c M + m, i, j] = clamp(b[c M + m] + r[...] + sum over u, v of w[c M + m, u, v] x[n, c, i s_h - p_t + u d_h,
//                                                                                         j s_w - p_l + v d_w])
//
// There is no sum over channels, so there is no matrix product in it. Kernels of 3x3, 5x5 and 7x7 with stride 1 or 2 read the
// plane where it lies, masks standing for its border, and compute several rows of outputs at a time, which a row of inputs
// serves all. For others, a band of rows is copied into the first cache with its zero border, columns sorted by their
// remainder modulo s_w ("phases"), so that every tap of neighbouring outputs is one load for any stride and dilation.
// Weights stay as they are: O x kh x kw. Error: docs/numerics.md, equation (4).
#pragma once

#include "kernels/conv/conv.h"

namespace gossamer {

// How a band lies in scratch memory: in_rows rows of `phases` times phase_width floats.
struct DepthwiseBand {
  int64_t out_rows, in_rows, phases, phase_width;
  [[gnu::always_inline]] int64_t pitch() const { return phases * phase_width; }
};
DepthwiseBand depthwise_band(const ConvShape& shape, int lanes);

inline constexpr int64_t kDepthwiseWidest = 256;  // columns of a kernel, at most

extern const ConvKernel kDepthwiseKernels[kRowCount];  // tile: rows of outputs at a time, lanes

void depthwise_portable(const ConvArgs&);
void depthwise_avx2(const ConvArgs&);
void depthwise_avx512(const ConvArgs&);

}  // namespace gossamer
