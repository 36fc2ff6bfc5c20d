// The step that convolves planes of cells: of float32 (NCHW) and of bytes.
#pragma once

#include "kernels/cells/weights.h"
#include "runtime/op.h"

namespace gossamer {

// What a convolution of cells computes; see kernels/cells/cells.h. Arrays have one element for each output channel.
struct CellConv {
  ConvShape shape;
  const float* float_weights = nullptr;  // either these
  const int8_t* byte_weights = nullptr;  // or these
  const void* initial = nullptr;  // float32 or int32, or nothing: zeros
  const float *scale = nullptr, *shift = nullptr;
  CellEpilogue epilogue;
  bool float_out = false;
  bool sums_out = false;  // of bytes: int32, planes as with float_out
  uint8_t fill = 0;  // of padding
  int weight_value = kAbsent;  // whose packed form is shared by all plans
  Slot x = kNoSlot, y = kNoSlot, residual = kNoSlot;
};

// The input as the kernel reads it: where it is, or copied with its padding.
class CellCopy {
 public:
  CellCopy(Build& b, const CellConv& conv, const CellPlanes& planes);
  // The cells of one image; copies them where that is needed.
  const uint32_t* input(const Run& run, const CellPlanes& planes, int64_t in_planes, const ConvShape& shape, int64_t image) const;

 private:
  Slot x_, copy_;
  uint32_t fill_;
};

// Names the packed weights of a convolution: their layout depends on the input's size.
std::string cell_conv_key(const CellConv& conv, const CellPlanes& planes);

Step cell_conv_step(Build& b, const CellConv& conv);

// What a convolution knows of its output channels, filled up to whole units; floats and int32 have one size.
struct CellChannels {
  std::vector<int32_t> initial, multiplier, right_shift;
  std::vector<float> scale, shift;

  explicit CellChannels(const CellConv& conv);
  void give(CellConvArgs& a, const CellEpilogue& epilogue) const;
};

// The weights as the kernel of this form reads them, packed once for all plans.
std::shared_ptr<const CellWeights> packed_cell_weights(Build& b, const CellConv& conv, const CellPlanes& planes, CellForm form);

}  // namespace gossamer
