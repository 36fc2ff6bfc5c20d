#include "kernels/conv/conv.h"

namespace gossamer {

const ConvKernel kConvKernels[kRowCount] = {
    {Isa::portable, "conv/portable", conv_portable, kTilePortable},
#if defined(__x86_64__)
    {Isa::avx2, "conv/avx2", conv_avx2, kTileAvx2},
    {Isa::avx512, "conv/avx512", conv_avx512, kTileAvx512},
#endif
};

int64_t conv_tasks(const ConvShape& s, int panel_width) {
  return s.batch * s.groups * ((s.pixels() + panel_width - 1) / panel_width);
}

int64_t packed_weights_size(const ConvShape& s, int tile_rows) {
  const int64_t height = tile_height(s.rows(), tile_rows);
  const int64_t tiles = height ? (s.rows() + height - 1) / height : 0;
  return s.groups * tiles * height * s.depth();
}

void pack_weights(const ConvShape& s, const float* weights, int tile_rows, float* packed) {
  const int64_t height = tile_height(s.rows(), tile_rows), k = s.depth();
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

}  // namespace gossamer
