#include <algorithm>

#include "kernels/conv/method.h"
#include "kernels/depthwise/depthwise.h"

namespace gossamer {

const ConvKernel kDepthwiseKernels[kRowCount] = {
    {Isa::portable, "depthwise/portable", depthwise_portable, {4, 4}},
#if defined(__x86_64__)
    {Isa::avx2, "depthwise/avx2", depthwise_avx2, {4, 8}},
    {Isa::avx512, "depthwise/avx512", depthwise_avx512, {4, 16}},
#endif
};

namespace {

constexpr int64_t kBandFloats = 6144;  // 24 KiB: leaves a quarter of the first cache to inputs and outputs
constexpr int64_t kMostScratch = int64_t{1} << 20;

int64_t input_rows(const ConvShape& s, int64_t out_rows) {
  return (out_rows - 1) * s.stride_h + (s.kernel_h - 1) * s.dilation_h + 1;
}

// As body.h's plane_function.
bool reads_in_place(const ConvShape& s) {
  const bool square = s.kernel_h == s.kernel_w && s.stride_h == s.stride_w && s.dilation_h == 1 && s.dilation_w == 1;
  return square && s.stride_h <= 2 && (s.kernel_h == 3 || s.kernel_h == 5 || s.kernel_h == 7);
}

class Depthwise final : public ConvMethod {
 public:
  std::span<const ConvKernel> kernels() const override { return kDepthwiseKernels; }
  bool fits(const ConvShape& s) const override {
    return s.in_channels == s.groups && s.kernel_w <= kDepthwiseWidest && scratch(s, {4, 16}) <= kMostScratch;
  }
  double cycles(const ConvShape& s, Tile tile) const override {
    const int64_t across = (s.out_w + tile.width - 1) / tile.width;
    const double vectors = static_cast<double>(across * s.out_h), taps = static_cast<double>(s.kernel_h * s.kernel_w);
    // From a band: loads that cross cache lines, or a single sum that waits for itself.
    const double tap = reads_in_place(s) ? 1 : across == 1 ? 4 : 2.2;
    return static_cast<double>(s.batch * s.out_channels) * (20 + vectors * (tap * taps + 5));
  }
  int64_t weights_size(const ConvShape& s, Tile) const override { return s.out_channels * s.depth(); }
  void pack(const ConvShape& s, const float* weights, Tile, float* packed) const override {
    std::copy_n(weights, s.out_channels * s.depth(), packed);
  }
  int64_t scratch(const ConvShape& s, Tile tile) const override {
    const DepthwiseBand band = depthwise_band(s, tile.width);
    return band.in_rows * band.pitch();
  }
  int64_t tasks(const ConvShape& s, Tile) const override { return s.batch * s.groups; }
};

const Depthwise method;

}  // namespace

const ConvMethod& kDepthwiseConv = method;

DepthwiseBand depthwise_band(const ConvShape& s, int lanes) {
  DepthwiseBand band;
  const int64_t reach = (s.kernel_w - 1) * s.dilation_w;
  band.phases = std::min(s.stride_w, reach + 1);
  band.phase_width = (s.out_w + lanes - 1) / lanes * lanes + reach / s.stride_w + 1;
  band.out_rows = 4;
  while (band.out_rows < s.out_h && input_rows(s, band.out_rows + 4) * band.pitch() <= kBandFloats) band.out_rows += 4;
  band.out_rows = std::min(band.out_rows, s.out_h);
  band.in_rows = input_rows(s, band.out_rows);
  return band;
}

}  // namespace gossamer
