// Operators on planes of cells of bytes, which quantized.cc puts in place of quantized patterns.
//
// A value in cells is a uint8 tensor of shape (batch, ceil(C / 4), spatial sizes ..., 4): kernels/cells/cells.h. What
// quantized.cc has worked out arrives as attributes and constants; it has checked them.
#include "kernels/cell_maps/cell_maps.h"
#include "runtime/cell_binary.h"
#include "runtime/cell_conv.h"
#include "runtime/cell_shape.h"
#include "runtime/depthwise_pointwise.h"
#include "runtime/errors.h"
#include "runtime/neighbour_conv.h"
#include "runtime/window.h"

namespace gossamer {
namespace {

// --- into cells and out of them ------------------------------------------------------------------------------------------

void infer_to_cells(Inference& n) {
  const Shape& x = n.shape(0);
  const int64_t channels = n.node.integer("channels", 0);
  if (x.size() < 3 || x.size() > 4) n.fail("input " + shape_text(x) + " of a convolution");
  if (x[1] != channels) n.fail("input " + shape_text(x) + ": the weights need " + std::to_string(channels) + " channels");
  n.outputs = {cells_shape(x)};
}

Step build_quantize(Build& b) {
  CellQuantizeArgs fixed;
  fixed.channels = b.shape(0)[1];
  fixed.pixels = pixels_of(b.out_shape());
  fixed.scale = b.node.real("scale", 1);
  fixed.zero = small(b.node, "zero");
  const auto& kernel = fastest(kCellQuantizeKernels, b.isa);
  const int64_t batch = b.shape(0)[0], planes = b.out_shape()[1];
  return {[=, x = b.in(0), y = b.out(), quantize = kernel.run](const Run& run) {
            each_image(run, batch, planes, fixed, [&](CellQuantizeArgs& a, int64_t image) {
              a.x = run.at<float>(x) + image * a.channels * a.pixels;
              a.y = run.at<uint8_t>(y) + image * planes * a.pixels * 4;
              quantize(a);
            });
          },
          kernel.name, ""};
}

void infer_from_cells(Inference& n) { n.outputs = {plain_shape(n.shape(0), n.node.integer("channels", 0))}; }

Step build_dequantize(Build& b) {
  CellDequantizeArgs fixed;
  fixed.channels = b.out_shape()[1];
  fixed.pixels = pixels_of(b.shape(0));
  fixed.scale = b.node.real("scale", 1);
  fixed.zero = small(b.node, "zero");
  const auto& kernel = fastest(kCellDequantizeKernels, b.isa);
  const int64_t batch = b.shape(0)[0], planes = b.shape(0)[1];
  return {[=, x = b.in(0), y = b.out(), dequantize = kernel.run](const Run& run) {
            each_image(run, batch, planes, fixed, [&](CellDequantizeArgs& a, int64_t image) {
              a.x = run.at<uint8_t>(x) + image * planes * a.pixels * 4;
              a.y = run.at<float>(y) + image * a.channels * a.pixels;
              dequantize(a);
            });
          },
          kernel.name, ""};
}

// Bytes from one order to the other. `flip`: 0x80 where the plain tensor is int8, which cells hold as x + 128.
struct Reorder {
  int64_t batch, channels, planes, pixels;
  uint8_t flip;

  template <class Function>
  void each(const Function& f) const {  // f(place in cells, place in the plain tensor)
    for (int64_t n = 0; n < batch; ++n)
      for (int64_t c = 0; c < channels; ++c) {
        const int64_t cell = (n * planes + c / 4) * pixels * 4 + c % 4, plain = (n * channels + c) * pixels;
        for (int64_t p = 0; p < pixels; ++p) f(cell + 4 * p, plain + p);
      }
  }
};

Reorder reorder_of(const Node& node, const Shape& cells, int64_t channels) {
  return {cells[0], channels, cells[1], pixels_of(cells), static_cast<uint8_t>(node.integer("signed", 0) ? 0x80 : 0)};
}

Step build_to_cells(Build& b) {
  const Reorder order = reorder_of(b.node, b.out_shape(), b.shape(0)[1]);
  return {[=, x = b.in(0), y = b.out()](const Run& run) {
            const uint8_t* from = run.at<uint8_t>(x);
            uint8_t* to = run.at<uint8_t>(y);
            order.each([&](int64_t cell, int64_t plain) { to[cell] = from[plain] ^ order.flip; });
          },
          "reorder", "bytes from one plane a channel to cells of four channels"};
}

Step build_to_bytes(Build& b) {
  const Reorder order = reorder_of(b.node, b.shape(0), b.out_shape()[1]);
  return {[=, x = b.in(0), y = b.out()](const Run& run) {
            const uint8_t* from = run.at<uint8_t>(x);
            uint8_t* to = run.at<uint8_t>(y);
            order.each([&](int64_t cell, int64_t plain) { to[plain] = from[cell] ^ order.flip; });
          },
          "reorder", "cells of four channels to bytes, one plane a channel"};
}

// --- convolution ---------------------------------------------------------------------------------------------------------
// Inputs: cells, int8 weights, int32 initial, float scale, float shift, and perhaps the residual's cells.

Window window_of(const Node& node, const Shape& cells, const Shape& w) {
  return read_window(node, plain_shape(cells, 1), Shape(w.begin() + 2, w.end()));
}

void infer_conv(Inference& n) {
  const Shape &x = n.shape(0), &w = n.shape(1);
  if (x.size() != w.size() + 1) n.fail("input of " + std::to_string(x.size() - 1) + " dimensions, weights " + shape_text(w));
  const Shape out = window_output(plain_shape(x, w[1]), w[0], window_of(n.node, x, w), n.node);
  n.outputs = {n.node.integer("float_out", 0) ? out : cells_shape(out)};
  if (n.has(5)) n.outputs[0] = broadcast(n.outputs[0], n.shape(5), n.node);
}

ConvShape conv_shape(const Window& w, int64_t batch, int64_t in_channels, int64_t out_channels, int64_t groups) {
  ConvShape s;
  s.batch = batch;
  s.groups = groups;
  s.in_channels = in_channels;
  s.out_channels = out_channels;
  s.in_h = w.in[0];
  s.in_w = w.in[1];
  s.out_h = w.out[0];
  s.out_w = w.out[1];
  s.kernel_h = w.kernel[0];
  s.kernel_w = w.kernel[1];
  s.stride_h = w.stride[0];
  s.stride_w = w.stride[1];
  s.dilation_h = w.dilation[0];
  s.dilation_w = w.dilation[1];
  s.pad_top = w.begin[0];
  s.pad_left = w.begin[1];
  return s;
}

CellEpilogue epilogue_of(const Node& node) {
  CellEpilogue e;
  e.rounds_mid = node.integer("rounds_mid", 0) != 0;
  e.mid_low = node.real("mid_low", 0);
  e.mid_high = node.real("mid_high", 255);
  e.keep = node.real("keep", 1);
  e.residual_scale = node.real("residual_scale", 0);
  e.residual_shift = node.real("residual_shift", 0);
  e.zero = small(node, "zero");
  e.low = node.real("low", 0);
  e.high = node.real("high", 255);
  return e;
}

Step conv_step(Build& b, const CellConv& conv) {
  if (is_depthwise_of_cells(conv)) return depthwise_cells_step(b, conv);
  return is_of_neighbours(conv) ? neighbour_conv_step(b, conv) : cell_conv_step(b, conv);
}

// Where the residual has another shape than the convolution's result: that first, then a sum that broadcasts.
Step conv_then_add(Build& b, CellConv conv, const Shape& shape) {
  const CellEpilogue e = conv.epilogue;
  const int mid_zero = small(b.node, "mid_zero");
  conv.y = b.scratch(element_count(shape));
  conv.epilogue = {};
  conv.epilogue.zero = mid_zero;
  conv.epilogue.low = e.mid_low + static_cast<float>(mid_zero);
  conv.epilogue.high = e.mid_high + static_cast<float>(mid_zero);
  ByteBinaryArgs sum;
  sum.a_scale = e.keep;
  sum.b_scale = e.residual_scale;
  sum.shift = e.residual_shift - e.keep * static_cast<float>(mid_zero);
  sum.zero = e.zero;
  sum.low = static_cast<int>(e.low);
  sum.high = static_cast<int>(e.high);
  const Step first = conv_step(b, conv);
  const Step second = cell_binary_step(b, fastest(kByteAddKernels, b.isa), sum, {conv.y, shape}, {b.in(5), b.shape(5), b.node.inputs[5]});
  const auto run = [first, second](const Run& run) {
    first.run(run);
    second.run(run);
  };
  return {run, first.kernel, "the sum with a tensor of another shape is a pass of its own", first.macs, first.weight_bytes};
}

// A convolution's shapes, weights and epilogue, as the node has them.
CellConv conv_of(const Build& b, const Node& node, const Shape& x, const std::vector<const ValueInfo*>& inputs) {
  const Shape& w = inputs[1]->shape;
  const int64_t groups = node.integer("group", 1);
  CellConv conv;
  conv.shape = conv_shape(window_of(node, x, w), x[0], w[1] * groups, w[0], groups);
  conv.byte_weights = b.model.constant(node.inputs[1])->dense.as<int8_t>();
  conv.initial = inputs[2]->known;
  conv.fill = static_cast<uint8_t>(node.integer("x_zero", 0));
  conv.weight_value = node.inputs[1];
  return conv;
}

// With what makes bytes of its sums.
CellConv requantized_conv_of(const Build& b, const Node& node, const Shape& x, const std::vector<const ValueInfo*>& inputs) {
  CellConv conv = conv_of(b, node, x, inputs);
  conv.scale = reinterpret_cast<const float*>(inputs[3]->known);
  conv.shift = reinterpret_cast<const float*>(inputs[4]->known);
  conv.epilogue = epilogue_of(node);
  conv.float_out = node.integer("float_out", 0) != 0;
  return conv;
}

// With the pointwise convolution that fusion.cc found behind.
Step build_depthwise_pointwise(Build& b) {
  const Node& second = *b.chain.front();
  CellConv depthwise = requantized_conv_of(b, b.node, b.shape(0), b.inputs);
  depthwise.x = b.in(0);
  std::vector<const ValueInfo*> inputs;
  for (const int value : second.inputs) inputs.push_back(value == kAbsent ? nullptr : &b.info_of(value));
  CellConv pointwise = requantized_conv_of(b, second, b.out_shape(), inputs);
  pointwise.y = b.out();
  if (second.has_input(5)) pointwise.residual = b.slot_of(second.inputs[5]);
  return depthwise_pointwise_step(b, depthwise, pointwise);
}

Step build_conv(Build& b) {
  if (!b.chain.empty()) return build_depthwise_pointwise(b);
  const Shape& w = b.shape(1);
  CellConv conv = requantized_conv_of(b, b.node, b.shape(0), b.inputs);
  conv.x = b.in(0);
  conv.y = b.out();
  if (!b.has(5)) return conv_step(b, conv);
  const Shape sum = cells_shape(window_output(plain_shape(b.shape(0), w[1]), w[0], window_of(b.node, b.shape(0), w), b.node));
  if (sum != b.shape(5)) return conv_then_add(b, conv, sum);
  conv.residual = b.in(5);
  if (b.node.inputs[5] != b.node.inputs[0]) b.in_place.push_back(b.node.inputs[5]);
  return conv_step(b, conv);
}

// --- convolution in integers alone ---------------------------------------------------------------------------------------
// Inputs: cells, int8 weights, int32 initial, and where the sums are requantized to cells int32 multiplier and shift of each
// channel. Else they are the result, int32 in ONNX's order.

std::vector<DType> integer_conv_type(const Node& node, const Types&) { return {node.inputs.size() > 3 ? DType::uint8 : DType::int32}; }

void infer_integer_conv(Inference& n) {
  infer_conv(n);
  if (!n.has(3)) n.outputs = {plain_shape(n.outputs[0], n.shape(1)[0])};
}

Step build_integer_conv(Build& b) {
  CellConv conv = conv_of(b, b.node, b.shape(0), b.inputs);
  conv.x = b.in(0);
  conv.y = b.out();
  conv.sums_out = !b.has(3);
  if (conv.sums_out) return conv_step(b, conv);
  conv.epilogue.multiplier = reinterpret_cast<const int32_t*>(b.inputs[3]->known);
  conv.epilogue.right_shift = reinterpret_cast<const int32_t*>(b.inputs[4]->known);
  conv.epilogue.zero = small(b.node, "zero");
  conv.epilogue.low = static_cast<float>(b.node.integer("low", 0));
  conv.epilogue.high = static_cast<float>(b.node.integer("high", 255));
  return conv_step(b, conv);
}

constexpr Operator kOperators[] = {
    {"gossamer.Quantize", 1, 1, " channels scale zero ", byte_type, infer_to_cells, build_quantize},
    {"gossamer.Dequantize", 1, 1, " channels scale zero ", float_type, infer_from_cells, build_dequantize},
    {"gossamer.ToCells", 1, 1, " channels signed ", byte_type, infer_to_cells, build_to_cells},
    {"gossamer.ToBytes", 1, 1, " channels signed ", plain_byte_type, infer_from_cells, build_to_bytes},
    {"gossamer.Conv", 5, 6, "", result_type, infer_conv, build_conv},
    {"gossamer.ConvInteger", 3, 5, "", integer_conv_type, infer_integer_conv, build_integer_conv},
};

}  // namespace

std::span<const Operator> cell_operators() { return kOperators; }

}  // namespace gossamer
