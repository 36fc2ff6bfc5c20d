// Where the input, the weights and the output of a depthwise convolution over cells lie (depthwise_cells.h).
//
// One plane at a time is copied with its padding. Its rows fall apart by the vertical stride s: padded row Y is row
// Y / s of phase Y mod s. Columns stay together where the kernel can step over them (stride 1 and 2) and fall apart
// likewise elsewhere. So position p = row pitch + column of the output finds each tap `step p` cells behind where
// position 0 finds it. Columns of padding are shared: what a row reads behind its end is the padding of the next one.
#pragma once

#include <vector>

#include "kernels/conv/conv.h"
#include "kernels/depthwise_cells/depthwise_cells.h"

namespace gossamer {

class DepthwiseLayout {
 public:
  explicit DepthwiseLayout(const ConvShape& shape);

  int step() const { return static_cast<int>(step_); }
  int64_t cells() const { return phase_cells_ * shape_.stride_h * split_ + kDepthwiseSlack; }
  // Writes one plane of the image, padding filled with `fill`.
  void copy(const uint32_t* in, uint32_t fill, uint32_t* out) const;

  std::vector<int32_t> offsets() const;  // of the segments
  // The segments' weights for each plane, from [channels][kernel_h][kernel_w].
  std::vector<std::byte> taps(const int8_t* weights, CellForm form) const;
  std::vector<CellBlock> blocks(int lanes) const;

 private:
  struct Segment {
    int64_t row, column, count;  // of the window
  };
  std::vector<Segment> segments() const;
  void copy_row(const uint32_t* in, uint32_t fill, int64_t phase, uint32_t* out) const;

  ConvShape shape_;
  int64_t step_, split_;  // stride_w = step x split
  int64_t rows_, pitch_, phase_cells_;  // of one phase; the output's pitch is pitch_ / step_
};

}  // namespace gossamer
