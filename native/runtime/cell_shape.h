// Shapes of tensors in cells, (batch, ceil(C / 4), spatial sizes ..., 4), and loops over them; for the op_cell*.cc files.
#pragma once

#include "runtime/op.h"

namespace gossamer {

inline std::vector<DType> byte_type(const Node&, const Types&) { return {DType::uint8}; }
inline std::vector<DType> float_type(const Node&, const Types&) { return {DType::float32}; }
// Of a result that is float32 or bytes in cells.
inline std::vector<DType> result_type(const Node& node, const Types&) {
  return {node.integer("float_out", 0) ? DType::float32 : DType::uint8};
}
// Of bytes that are not in cells: cells alone are always unsigned.
inline std::vector<DType> plain_byte_type(const Node& node, const Types&) {
  return {node.integer("signed", 0) ? DType::int8 : DType::uint8};
}

inline Shape cells_shape(const Shape& x) {  // of a tensor (batch, C, spatial sizes ...)
  Shape shape = x;
  shape[1] = (x[1] + 3) / 4;
  shape.push_back(4);
  return shape;
}

inline Shape plain_shape(const Shape& cells, int64_t channels) {
  Shape shape(cells.begin(), cells.end() - 1);
  shape[1] = channels;
  return shape;
}

inline int64_t pixels_of(const Shape& cells) { return product(cells, 2, cells.size() - 1); }

inline int small(const Node& node, const char* name) { return static_cast<int>(node.integer(name, 0)); }

// Calls call(args, image) for each image and shares its planes.
template <class Args, class Function>
void each_image(const Run& run, int64_t batch, int64_t planes, const Args& fixed, const Function& call) {
  for (int64_t image = 0; image < batch; ++image) {
    run.pool->share(planes, [&](int64_t begin, int64_t end, int) {
      Args a = fixed;
      a.plane_begin = begin;
      a.plane_end = end;
      call(a, image);
    });
  }
}

// gossamer.Channels (cell_channels.cc): ranges of the inputs' channels, one after the other (channel_ranges.h). The attribute
// `spatial`: the sizes of the result, as many pixels, where they are not the inputs'.
void infer_cell_channels(Inference& n);
Step build_cell_channels(Build& b);

}  // namespace gossamer
