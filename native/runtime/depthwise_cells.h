// The step of a depthwise convolution over planes of cells of bytes.
#pragma once

#include "kernels/depthwise_cells/layout.h"
#include "runtime/cell_conv.h"

namespace gossamer {

// Whether kernels/depthwise_cells computes this convolution; others are cell_conv_step's.
bool is_depthwise_of_cells(const CellConv& conv);
Step depthwise_cells_step(Build& b, const CellConv& conv);

// What a depthwise convolution knows of its channels, filled up to whole planes.
struct DepthwiseChannels {
  std::vector<int32_t> initial, multiplier, right_shift;
  std::vector<float> scale, shift;
  std::vector<std::byte> taps;

  DepthwiseChannels(const CellConv& conv, CellForm form);
};

// A depthwise convolution plane by plane: of whole planes, or of the rows that `shape` is of.
class DepthwisePlanes {
 public:
  DepthwisePlanes(const ConvShape& shape, const CellConv& conv, const DepthwiseCellsKernel& kernel,
                  std::shared_ptr<const DepthwiseChannels> channels);

  int64_t copy_cells() const { return layout_.cells(); }  // for one plane with its padding
  void run(const uint32_t* in, const uint32_t* residual, int64_t plane, uint32_t* copy, uint32_t* out) const;

 private:
  DepthwiseLayout layout_;
  const DepthwiseCellsKernel* kernel_;
  std::shared_ptr<const DepthwiseChannels> channels_;
  std::vector<int32_t> offsets_;
  std::vector<CellBlock> blocks_;
  CellEpilogue epilogue_;
  uint32_t fill_;
};

}  // namespace gossamer
