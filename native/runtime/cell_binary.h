// The step that combines two tensors of bytes in cells, which may be broadcast.
#pragma once

#include "kernels/cell_maps/cell_maps.h"
#include "runtime/op.h"

namespace gossamer {

struct CellOperand {
  Slot slot;
  Shape shape;  // of as many planes as the output's
  int value = kAbsent;  // whose memory the output may take over
};

Step cell_binary_step(Build& b, const Row<void (*)(const ByteBinaryArgs&)>& kernel, ByteBinaryArgs fixed, CellOperand left,
                      CellOperand right);

}  // namespace gossamer
