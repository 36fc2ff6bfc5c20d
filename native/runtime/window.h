// The attributes that convolutions and poolings have in common.
#pragma once

#include "runtime/op.h"

namespace gossamer {

// A window that slides over one or two spatial dimensions; one dimension is two with a height of 1.
struct Window {
  int64_t kernel[2] = {1, 1}, stride[2] = {1, 1}, dilation[2] = {1, 1}, begin[2] = {0, 0}, end[2] = {0, 0};
  int64_t in[2] = {1, 1}, out[2] = {1, 1};
};

// How often a window fits along a dimension of `in` elements with `begin` and `end` around it; `reach`: from its first element
// to behind its last. With `ceil`, one that begins in the padding behind is left out, as PyTorch and ONNX Runtime do.
int64_t windows_along(int64_t in, int64_t begin, int64_t end, int64_t reach, int64_t stride, bool ceil);

// Reads and checks a node's attributes. `kernel`: the spatial sizes of the weights; empty: from the attribute kernel_shape.
// ModelError, Unsupported.
Window read_window(const Node& node, const Shape& x, const Shape& kernel);

// The output's shape: batch, channels, spatial sizes. ShapeError where the input is smaller than the kernel.
Shape window_output(const Shape& x, int64_t channels, const Window& window, const Node& node);

}  // namespace gossamer
