// Weights of a convolution as the kernel reads them: blocks that are zero are left out.
#pragma once

#include <span>
#include <vector>

#include "kernels/cells/planes.h"

namespace gossamer {

struct CellWeights {
  int64_t rows = 0;
  int group_rows = 1;
  std::vector<uint32_t> starts;
  std::vector<int32_t> offsets;
  std::vector<std::byte> values;
  int64_t kept = 0, all = 0;  // cells of weights that are multiplied, and that dense weights would have

  CellBlocks view() const { return {rows, group_rows, starts.data(), offsets.data(), values.data()}; }
  int64_t bytes() const { return static_cast<int64_t>(starts.size() * 4 + offsets.size() * 4 + values.size()); }
};

// `weights`: [out_channels][in_channels / groups][kernel_h][kernel_w]. R is the number of rows with the least estimated
// time, or `group_rows` where that is not 0.
CellWeights pack_cell_weights(const ConvShape& shape, const CellPlanes& planes, const float* weights, int group_rows = 0);
CellWeights pack_cell_weights(const ConvShape& shape, const CellPlanes& planes, const int8_t* weights, CellForm form,
                              int group_rows = 0);

}  // namespace gossamer
