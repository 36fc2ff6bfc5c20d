// Plain loops, the oracle of every row of kConvKernels. Weights are O x C/G x kh x kw here, not packed.
#pragma once

#include "kernels/conv/conv.h"
#include "kernels/gemm/reference.h"

namespace gossamer {

inline double conv_reference_sum(const ConvArgs& a, int64_t n, int64_t o, int64_t i, int64_t j) {
  const ConvShape& s = a.shape;
  const int64_t channels = s.in_channels / s.groups, first = o / s.rows() * channels;
  double sum = 0;
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t u = 0; u < s.kernel_h; ++u) {
      for (int64_t v = 0; v < s.kernel_w; ++v) {
        const int64_t row = i * s.stride_h - s.pad_top + u * s.dilation_h;
        const int64_t column = j * s.stride_w - s.pad_left + v * s.dilation_w;
        if (row < 0 || row >= s.in_h || column < 0 || column >= s.in_w) continue;
        sum += double{a.weights[((o * channels + c) * s.kernel_h + u) * s.kernel_w + v]} *
               a.x[((n * s.in_channels + first + c) * s.in_h + row) * s.in_w + column];
      }
    }
  }
  return sum;
}

inline void conv_reference(const ConvArgs& a) {
  const ConvShape& s = a.shape;
  int64_t at = 0;
  for (int64_t n = 0; n < s.batch; ++n)
    for (int64_t o = 0; o < s.out_channels; ++o)
      for (int64_t i = 0; i < s.out_h; ++i)
        for (int64_t j = 0; j < s.out_w; ++j, ++at) {
          double sum = conv_reference_sum(a, n, o, i, j);
          if (a.bias) sum += a.bias[o];
          if (a.residual) sum += a.residual[at];
          a.y[at] = clamp_reference(static_cast<float>(sum), a.low, a.high);
        }
}

}  // namespace gossamer
