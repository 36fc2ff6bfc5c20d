// Plain loops, the oracle of every row of kCellByteKernels. (That of kCellFloatKernels is conv/reference.h.)
#pragma once

#include <cmath>

#include "kernels/cells/cells.h"
#include "kernels/integer/fixed_point.h"
#include "kernels/conv/conv.h"

namespace gossamer {

// A convolution of bytes on row-major tensors: x and residual N x C x H x W, weights O x C/G x kh x kw, not packed.
struct CellBytesCheck {
  ConvShape shape;
  const uint8_t* x = nullptr;
  int x_zero = 0;  // what padding holds
  const int8_t* weights = nullptr;
  const int32_t* initial = nullptr;  // out_channels, as scale and shift
  CellEpilogue epilogue;
  const void* residual = nullptr;  // uint8, or float32 with float_out
  void* y = nullptr;
  bool float_out = false;
  int group_rows = 0;
  bool sums_out = false;  // y: int32
};

inline int64_t cell_bytes_reference_sum(const CellBytesCheck& a, int64_t n, int64_t o, int64_t i, int64_t j) {
  const ConvShape& s = a.shape;
  const int64_t channels = s.in_channels / s.groups, first = o / s.rows() * channels;
  int64_t sum = a.initial[o];
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t u = 0; u < s.kernel_h; ++u) {
      for (int64_t v = 0; v < s.kernel_w; ++v) {
        const int64_t row = i * s.stride_h - s.pad_top + u * s.dilation_h;
        const int64_t column = j * s.stride_w - s.pad_left + v * s.dilation_w;
        const bool inside = row >= 0 && row < s.in_h && column >= 0 && column < s.in_w;
        const int x = inside ? a.x[((n * s.in_channels + first + c) * s.in_h + row) * s.in_w + column] : a.x_zero;
        sum += x * a.weights[((o * channels + c) * s.kernel_h + u) * s.kernel_w + v];
      }
    }
  }
  return sum;
}

// In float32 with fused multiply-adds, as the kernels: their results are equal to the last bit.
inline void cell_bytes_reference_finish(const CellBytesCheck& a, int64_t o, int64_t sum, int64_t at) {
  const CellEpilogue& e = a.epilogue;
  if (a.sums_out) {
    static_cast<int32_t*>(a.y)[at] = static_cast<int32_t>(sum);
    return;
  }
  if (e.multiplier) {
    const auto low = static_cast<int32_t>(e.low), high = static_cast<int32_t>(e.high);
    static_cast<uint8_t*>(a.y)[at] = static_cast<uint8_t>(requantize(static_cast<int32_t>(sum), e.multiplier[o], e.right_shift[o], e.zero, low, high));
    return;
  }
  float t = std::fma(static_cast<float>(sum), e.scale[o], e.shift[o]);
  if (a.float_out) {
    if (a.residual) t += static_cast<const float*>(a.residual)[at];
    t = t < e.low ? e.low : t;
    static_cast<float*>(a.y)[at] = t > e.high ? e.high : t;
    return;
  }
  if (a.residual) {
    const float q = std::fma(static_cast<float>(static_cast<const uint8_t*>(a.residual)[at]), e.residual_scale, e.residual_shift);
    if (e.rounds_mid) t = std::fmin(e.mid_high, std::fmax(e.mid_low, std::nearbyint(t)));
    t = std::fma(t, e.keep, q);
  }
  t = std::nearbyint(t) + static_cast<float>(e.zero);
  t = t < e.low ? e.low : t;
  static_cast<uint8_t*>(a.y)[at] = static_cast<uint8_t>(t > e.high ? e.high : t);
}

inline void cell_bytes_reference(const CellBytesCheck& a) {
  const ConvShape& s = a.shape;
  int64_t at = 0;
  for (int64_t n = 0; n < s.batch; ++n)
    for (int64_t o = 0; o < s.out_channels; ++o)
      for (int64_t i = 0; i < s.out_h; ++i)
        for (int64_t j = 0; j < s.out_w; ++j, ++at) cell_bytes_reference_finish(a, o, cell_bytes_reference_sum(a, n, o, i, j), at);
}

}  // namespace gossamer
