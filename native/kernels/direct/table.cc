#include <algorithm>

#include "kernels/conv/method.h"
#include "kernels/direct/direct.h"

namespace gossamer {

const ConvKernel kDirectKernels[kRowCount] = {
    {Isa::portable, "direct/portable", direct_portable, kTilePortable},
#if defined(__x86_64__)
    {Isa::avx2, "direct/avx2", direct_avx2, kTileAvx2},
    {Isa::avx512, "direct/avx512", direct_avx512, kGemmAvx512},
#endif
};

namespace {

constexpr int64_t kMostCopied = int64_t{1} << 20;  // floats of a chunk's inputs
// Floats of a plane from which on inputs are copied: tiles would read across as many pages as there are channels.
constexpr int64_t kFarPlane = 1024;
constexpr int64_t kSums = 16 << 10;  // floats of the sums of a task: 64 KiB
constexpr int64_t kMostLanes = 16;  // of any instruction set

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

class Direct final : public ConvMethod {
 public:
  std::span<const ConvKernel> kernels() const override { return kDirectKernels; }
  bool fits(const ConvShape& s) const override {
    const DirectPlan plan = direct_plan(s, kTilePortable);
    const bool small = plan.in_rows <= kMostCopied && plan.in_width <= kMostCopied && plan.plane <= kMostCopied &&
                       s.in_channels <= kMostCopied / std::max<int64_t>(plan.plane, 1);
    return (!plan.copies || small) && s.out_w <= kSums && s.depth() <= kMostCopied;
  }
  double cycles(const ConvShape& s, Tile tile) const override;
  int64_t weights_size(const ConvShape& s, Tile tile) const override {
    return s.groups * ceil_div(s.rows(), tile.width) * tile.width * s.depth();
  }
  void pack(const ConvShape& s, const float* weights, Tile tile, float* packed) const override;
  int64_t scratch(const ConvShape& s, Tile tile) const override { return direct_plan(s, tile).floats; }
  int64_t tasks(const ConvShape& s, Tile tile) const override {
    const DirectPlan plan = direct_plan(s, tile);
    return s.batch * plan.chunks * s.groups * plan.panels;
  }
};

double Direct::cycles(const ConvShape& s, Tile tile) const {
  const DirectPlan plan = direct_plan(s, tile);
  const int64_t wide = std::max<int64_t>(tile_height(s.out_w, tile.rows), 1), tiles = ceil_div(s.out_w, wide) * s.out_h;
  const double depth = 1.05 * static_cast<double>(tiles * s.depth()), pixels = static_cast<double>(s.pixels()) * storing_cycles(s);
  double panels = 0;
  for (int64_t p = 0; p < plan.panels; ++p) {
    const auto vectors = static_cast<double>(direct_panel(s, tile, p) * 2 / tile.width);
    panels += depth * std::max(static_cast<double>(wide) * vectors, 8.0) + pixels * vectors;
  }
  const auto batch = static_cast<double>(s.batch), groups = static_cast<double>(s.groups);
  const double copying = plan.copies ? static_cast<double>(s.in_channels * plan.in_rows * plan.in_width * plan.chunks) / tile.width * 6 : 0;
  const double reading = streaming_cycles(static_cast<double>(weights_size(s, tile)), batch * static_cast<double>(plan.chunks));
  return std::max(batch * groups * panels, reading) + batch * copying;
}

// [group][panel][K][panel's channels]; those past the last one are zero.
void Direct::pack(const ConvShape& s, const float* weights, Tile tile, float* packed) const {
  const int64_t depth = s.depth(), panels = ceil_div(s.rows(), tile.width);
  std::fill_n(packed, weights_size(s, tile), 0.0f);
  for (int64_t o = 0; o < s.out_channels; ++o) {
    const int64_t group = o / s.rows(), row = o % s.rows(), width = direct_panel(s, tile, row / tile.width);
    float* panel = packed + (group * panels + row / tile.width) * depth * tile.width + row % tile.width;
    for (int64_t p = 0; p < depth; ++p) panel[p * width] = weights[o * depth + p];
  }
}

const Direct method;

}  // namespace

const ConvMethod& kDirectConv = method;

int64_t direct_panel(const ConvShape& s, Tile tile, int64_t panel) {
  return s.rows() - panel * tile.width <= tile.width / 2 ? tile.width / 2 : tile.width;
}

DirectPlan direct_plan(const ConvShape& s, Tile tile) {
  DirectPlan p;
  const int64_t below = (s.out_h - 1) * s.stride_h + (s.kernel_h - 1) * s.dilation_h + 1;
  const int64_t right = (s.out_w - 1) * s.stride_w + (s.kernel_w - 1) * s.dilation_w + 1;
  p.rows = std::clamp<int64_t>(kSums / (std::max<int64_t>(s.out_w, 1) * tile.width), 1, std::max<int64_t>(s.out_h, 1));
  p.chunks = ceil_div(s.out_h, p.rows);
  p.rows = ceil_div(s.out_h, std::max<int64_t>(p.chunks, 1));
  p.panels = ceil_div(s.rows(), tile.width);
  p.copies = s.pad_top > 0 || s.pad_left > 0 || below > s.in_h || right > s.in_w || s.in_h * s.in_w > kFarPlane;
  p.in_rows = (p.rows - 1) * s.stride_h + (s.kernel_h - 1) * s.dilation_h + 1;
  p.in_width = p.copies ? right : s.in_w;
  p.plane = p.copies ? p.in_rows * p.in_width : s.in_h * s.in_w;
  if (p.copies && p.plane % 1024 < 32) p.plane += 32;  // not a multiple of 4 KiB, which the first cache would put in one set
  p.image = (p.rows * s.out_w + kMostLanes) * tile.width;  // the sums are read in whole vectors of pixels
  p.offsets = p.image + (p.copies ? ceil_div(s.in_channels * p.plane, kMostLanes) * kMostLanes : 0);
  p.floats = p.offsets + 2 * s.depth();
  return p;
}

}  // namespace gossamer
