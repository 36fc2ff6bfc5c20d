// Depthwise convolution over planes of cells of four bytes (cells/cells.h): every channel has a window of its own.
//
//   sum[c][p] = initial[c] + sum over the segments s and i < 3 of  w[s][i][c] in[offset[s] + i + step p][c]          (1)
//
// for the four channels c of one plane. A segment is up to three neighbouring taps of a row of the window. One shuffle
// of a vector of cells puts the three bytes of each channel side by side, where a dot product of bytes takes them; so
// the four channels of a pixel stay together from the input to the output. `step` is the horizontal stride. The input
// is a padded copy of the plane, which layout.h describes.
//
// What a sum becomes is the matter of CellEpilogue. Sums are exact while |sum| < 2^31.
#pragma once

#include <cstdint>

#include "kernels/cells/cells.h"

namespace gossamer {

// `lanes` positions of the output, of which those in `mask` are pixels: pixel, pixel + 1 ... one after the other.
struct CellBlock {
  int32_t pixel = 0;
  uint16_t mask = 0, count = 0;
};

struct DepthwiseCellsArgs {
  const uint32_t* in = nullptr;  // kDepthwiseSlack cells may be read behind the last one
  int segments = 0;
  int step = 1;  // 1 or 2
  const int32_t* offsets = nullptr;  // segments, in cells
  const void* taps = nullptr;  // segments x depthwise_tap_bytes(form)
  const CellBlock* blocks = nullptr;
  int64_t block_count = 0;
  const int32_t* initial = nullptr;  // 4
  CellEpilogue epilogue;  // scale, shift: 4
  const uint32_t* residual = nullptr;  // as the output
  uint32_t* out = nullptr;  // cells
};

struct DepthwiseCellsKernel : Row<void (*)(const DepthwiseCellsArgs&)> {
  CellForm form;
  int lanes;
};

inline constexpr int64_t kDepthwiseSlack = 48;
inline constexpr int kSegmentTaps = 3;

// Bytes of the weights of one segment: int8 [channel][w0 w1 w2 0], or halves: int16 [channel][w0 w1], [channel][w2 0].
constexpr int depthwise_tap_bytes(CellForm form) { return form == CellForm::halves ? 32 : 16; }

extern const DepthwiseCellsKernel kDepthwiseCellsKernels[kByteRowCount];

void depthwise_cells_portable(const DepthwiseCellsArgs&);
void depthwise_cells_avx2(const DepthwiseCellsArgs&);
void depthwise_cells_avx512(const DepthwiseCellsArgs&);
void depthwise_cells_avx512vnni(const DepthwiseCellsArgs&);

}  // namespace gossamer
