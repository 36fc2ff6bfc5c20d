#include "kernels/conv/conv.h"

#include <algorithm>

#include "kernels/conv/method.h"

namespace gossamer {

const ConvKernel kConvKernels[kRowCount] = {
    {Isa::portable, "conv/portable", conv_portable, kTilePortable},
#if defined(__x86_64__)
    {Isa::avx2, "conv/avx2", conv_avx2, kTileAvx2},
    {Isa::avx512, "conv/avx512", conv_avx512, kTileAvx512},
#endif
};

namespace {

int64_t weight_tiles(const ConvShape& s, Tile tile) {
  const int64_t height = tile_height(s.rows(), tile.rows);
  return height ? (s.rows() + height - 1) / height : 0;
}

class Packed final : public ConvMethod {
 public:
  std::span<const ConvKernel> kernels() const override { return kConvKernels; }
  bool fits(const ConvShape&) const override { return true; }
  double cycles(const ConvShape& s, Tile tile) const override;
  int64_t weights_size(const ConvShape& s, Tile tile) const override {
    return s.groups * weight_tiles(s, tile) * tile_height(s.rows(), tile.rows) * s.depth();
  }
  void pack(const ConvShape& s, const float* weights, Tile tile, float* packed) const override;
  int64_t scratch(const ConvShape&, Tile) const override { return kConvBlock + 64; }  // a vector is written past its end
  int64_t tasks(const ConvShape& s, Tile tile) const override {  // one panel of pixels of one group of one image each
    return s.batch * s.groups * ((s.pixels() + tile.width - 1) / tile.width);
  }
};

// Of the inner loop, a step of one tile takes as many cycles as it has fused multiply-adds, but no fewer than hide their
// latency; packing takes some per run of pixels, and some per pixel where they do not lie side by side.
double Packed::cycles(const ConvShape& s, Tile tile) const {
  const auto height = static_cast<double>(tile_height(s.rows(), tile.rows));
  const int64_t runs = 1 + tile.width / std::max<int64_t>(s.out_w, 1);
  const double packing = s.stride_w == 1 ? static_cast<double>(12 + 12 * runs) : static_cast<double>(tile.width) * 3;
  const double step = std::max(height * 2, 6.0) * static_cast<double>(weight_tiles(s, tile));
  const auto panels = static_cast<double>(tasks(s, tile));
  const double reading = streaming_cycles(static_cast<double>(weights_size(s, tile)), panels / static_cast<double>(s.groups));
  const double storing = panels * static_cast<double>(s.rows()) * 2 * storing_cycles(s);
  return std::max(panels * static_cast<double>(s.depth()) * (packing + step), reading) + storing;
}

void Packed::pack(const ConvShape& s, const float* weights, Tile tile, float* packed) const {
  const int64_t height = tile_height(s.rows(), tile.rows), k = s.depth();
  for (int64_t group = 0; group < s.groups; ++group) {
    for (int64_t row = 0; row < s.rows(); row += height) {
      for (int64_t p = 0; p < k; ++p) {
        for (int64_t i = row; i < row + height; ++i) {
          *packed++ = i < s.rows() ? weights[(group * s.rows() + i) * k + p] : 0.0f;
        }
      }
    }
  }
}

const Packed method;

}  // namespace

const ConvMethod& kPackedConv = method;

}  // namespace gossamer
