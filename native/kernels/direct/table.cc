#include <algorithm>

#include "kernels/conv/method.h"
#include "kernels/direct/direct.h"

namespace gossamer {

const ConvKernel kDirectKernels[kRowCount] = {
    {Isa::portable, "direct/portable", direct_portable, kTilePortable},
#if defined(__x86_64__)
    {Isa::avx2, "direct/avx2", direct_avx2, kTileAvx2},
    {Isa::avx512, "direct/avx512", direct_avx512, kTileAvx512},
#endif
};

namespace {

constexpr int64_t kMostImage = int64_t{1} << 20;  // floats of an image copied with its border
constexpr int64_t kSums = 16 << 10;  // floats of the sums of a task: 64 KiB
constexpr int64_t kMostLanes = 16;  // of any instruction set

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

class Direct final : public ConvMethod {
 public:
  std::span<const ConvKernel> kernels() const override { return kDirectKernels; }
  bool fits(const ConvShape& s) const override {
    const DirectPlan plan = direct_plan(s, kTilePortable);
    const bool reads_inside = !plan.pads || (plan.padded_h <= kMostImage && plan.padded_w <= kMostImage &&
                                             s.in_channels <= kMostImage / (plan.padded_h * plan.padded_w));
    return reads_inside && s.out_w <= kSums && s.depth() <= kMostImage;
  }
  double cycles(const ConvShape& s, Tile tile) const override;
  int64_t weights_size(const ConvShape& s, Tile tile) const override {
    return s.groups * ceil_div(s.rows(), tile.width) * tile.width * s.depth();
  }
  void pack(const ConvShape& s, const float* weights, Tile tile, float* packed) const override;
  int64_t scratch(const ConvShape& s, Tile tile) const override { return direct_plan(s, tile).floats; }
  int64_t tasks(const ConvShape& s, Tile tile) const override {
    const DirectPlan plan = direct_plan(s, tile);
    return s.batch * s.groups * plan.panels * plan.row_chunks;
  }
};

double Direct::cycles(const ConvShape& s, Tile tile) const {
  const DirectPlan plan = direct_plan(s, tile);
  const auto wide = static_cast<double>(tile_height(s.out_w, tile.rows));
  const auto tiles = static_cast<double>(ceil_div(s.out_w, std::max<int64_t>(tile_height(s.out_w, tile.rows), 1)) * s.out_h);
  const auto panels = static_cast<double>(s.batch * s.groups * plan.panels);
  const double sums = 1.05 * tiles * static_cast<double>(s.depth()) * std::max(wide * 2, 8.0);
  const double copying = plan.pads ? static_cast<double>(s.batch * s.in_channels * plan.padded_h * plan.padded_w) / tile.width * 4 : 0;
  const double reading = streaming_cycles(static_cast<double>(weights_size(s, tile)), static_cast<double>(s.batch));
  return std::max(panels * (sums + static_cast<double>(s.pixels()) * 36), reading) + copying;
}

// [group][panel][K][panel's channels]; those past the last one are zero.
void Direct::pack(const ConvShape& s, const float* weights, Tile tile, float* packed) const {
  const int64_t depth = s.depth(), panels = ceil_div(s.rows(), tile.width);
  std::fill_n(packed, weights_size(s, tile), 0.0f);
  for (int64_t o = 0; o < s.out_channels; ++o) {
    const int64_t group = o / s.rows(), row = o % s.rows();
    float* panel = packed + (group * panels + row / tile.width) * depth * tile.width + row % tile.width;
    for (int64_t p = 0; p < depth; ++p) panel[p * tile.width] = weights[o * depth + p];
  }
}

const Direct method;

}  // namespace

const ConvMethod& kDirectConv = method;

DirectPlan direct_plan(const ConvShape& s, Tile tile) {
  DirectPlan p;
  const int64_t below = (s.out_h - 1) * s.stride_h + (s.kernel_h - 1) * s.dilation_h + 1;
  const int64_t right = (s.out_w - 1) * s.stride_w + (s.kernel_w - 1) * s.dilation_w + 1;
  p.pads = s.pad_top > 0 || s.pad_left > 0 || below > s.in_h || right > s.in_w;
  p.padded_h = p.pads ? below : s.in_h;
  p.padded_w = p.pads ? right : s.in_w;
  p.rows = std::clamp<int64_t>(kSums / (s.out_w * tile.width), 1, std::max<int64_t>(s.out_h, 1));
  p.row_chunks = ceil_div(s.out_h, p.rows);
  p.panels = ceil_div(s.rows(), tile.width);
  const int64_t image = s.in_channels * p.padded_h * p.padded_w;
  p.panels_first = image > s.out_channels * s.depth();
  p.image = (p.rows * s.out_w + kMostLanes) * tile.width;  // the sums are read in whole vectors of pixels
  p.offsets = p.image + (p.pads ? ceil_div(image, kMostLanes) * kMostLanes : 0);
  p.floats = p.offsets + 2 * s.depth();
  return p;
}

}  // namespace gossamer
