// Where the cells of a convolution's input lie, so that one offset for each tap reaches every position (cells.h, (1)).
//
// Padded coordinates: Y = y + pad_top, X = x + pad_left. With strides (s, t) the padded image falls apart into phases:
// phase (Y mod s, X mod t) holds its cells at row Y / s, column X / t. A tap (ky, kx) then reads one phase, shifted by
// (ky dilation_h / s, kx dilation_w / t), and position p = row pitch + column of the output is that many cells further
// on. Columns of padding are shared: what a row reads behind its end is the padding in front of the next one.
//
// Without strides and padding the input serves as it is.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/cells/cells.h"
#include "kernels/conv/conv.h"

namespace gossamer {

class CellPlanes {
 public:
  // `planes`: of the input, in_channels or ceil(in_channels / 4). `readable_behind`: kCellSlack cells behind the input
  // may be read; where not, it is copied.
  CellPlanes(const ConvShape& shape, int64_t planes, bool readable_behind = true);

  bool copies() const { return copies_; }
  CellPositions positions() const { return positions_; }
  // Cells of the copy of one image, those that are only read in passing included.
  int64_t cells() const { return static_cast<int64_t>(phases_.size()) * planes_ * plane_cells_ + kCellSlack; }
  // Of tap (ky, kx) in a plane, for position 0; in cells.
  int64_t offset(int64_t plane, int64_t ky, int64_t kx) const;
  // Writes planes plane_begin .. plane_end - 1 of one image: all their phases, padding filled with `fill`.
  void copy(const uint32_t* in, uint32_t fill, uint32_t* out, int64_t plane_begin, int64_t plane_end) const;

 private:
  struct Phase {
    int64_t y, x;
  };
  int64_t phase_of(int64_t ky, int64_t kx) const;
  void copy_phase(const uint32_t* in, uint32_t fill, const Phase& phase, uint32_t* out) const;

  ConvShape shape_;
  int64_t planes_, rows_ = 0, pitch_ = 0, plane_cells_ = 0;
  bool copies_ = false;
  std::vector<Phase> phases_;
  CellPositions positions_;
};

}  // namespace gossamer
