// Windows over any number of spatial dimensions, for the general and slow forms of convolution and pooling.
#pragma once

#include "runtime/op.h"

namespace gossamer {

// One number per spatial dimension in each list.
struct WindowNd {
  Shape in, out, kernel, stride, dilation, begin, end;

  size_t spatial() const { return in.size(); }
  int64_t inputs() const;  // elements of one channel of the input
  int64_t outputs() const;
  int64_t taps() const;  // of the kernel

  // For every output position of [first, first + count) and one tap of the kernel, the flat input position, or -1 where the
  // tap lies in the padding.
  void sources(int64_t tap, int64_t first, int64_t count, int64_t* positions) const;
};

// Reads strides, dilations, pads, auto_pad and ceil_mode. `kernel`: from the weights, or empty: from kernel_shape.
WindowNd window_nd(const Node& node, const Shape& x, const Shape& kernel);

// The same for a transposed convolution, whose input and output have changed places: in is the convolution's output.
WindowNd transposed_window_nd(const Node& node, const Shape& x, const Shape& kernel);

// Convolution of any number of spatial dimensions, or with weights that are computed while running.
Step build_general_conv(Build& b);

// Pooling of any number of spatial dimensions, of other types than float32, or with indices given out.
void infer_general_pool(Inference& n);
Step build_general_pool(Build& b);

}  // namespace gossamer
