// Plain loops, the oracle of every row of kCol2imKernels.
#pragma once

#include <vector>

#include "kernels/col2im/col2im.h"
#include "kernels/gemm/reference.h"

namespace gossamer {

inline void col2im_reference_channel(const Col2imArgs& a, int64_t o, std::vector<double>& sums) {
  const float* column = a.columns + o * a.kernel_h * a.kernel_w * a.in_h * a.in_w;
  for (int64_t u = 0; u < a.kernel_h; ++u)
    for (int64_t v = 0; v < a.kernel_w; ++v)
      for (int64_t r = 0; r < a.in_h; ++r)
        for (int64_t q = 0; q < a.in_w; ++q, ++column) {
          const int64_t i = r * a.stride_h + u * a.dilation_h - a.pad_top, j = q * a.stride_w + v * a.dilation_w - a.pad_left;
          if (i >= 0 && i < a.out_h && j >= 0 && j < a.out_w) sums[static_cast<size_t>(i * a.out_w + j)] += *column;
        }
}

inline void col2im_reference(const Col2imArgs& a) {
  for (int64_t o = a.channel_begin; o < a.channel_end; ++o) {
    std::vector<double> sums(static_cast<size_t>(a.out_h * a.out_w), a.bias ? a.bias[o] : 0.0);
    col2im_reference_channel(a, o, sums);
    float* y = a.y + o * a.out_h * a.out_w;
    for (const double sum : sums) *y++ = clamp_reference(static_cast<float>(sum), a.low, a.high);
  }
}

}  // namespace gossamer
