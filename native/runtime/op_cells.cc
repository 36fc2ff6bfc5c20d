// Operators on planes of cells of bytes, which quantized.cc puts in place of quantized patterns.
//
// A value in cells is a uint8 tensor of shape (batch, ceil(C / 4), spatial sizes ..., 4): kernels/cells/cells.h. What
// quantized.cc has worked out arrives as attributes and constants; it has checked them.
#include "kernels/cell_maps/cell_maps.h"
#include "runtime/cell_conv.h"
#include "runtime/depthwise_cells.h"
#include "runtime/errors.h"
#include "runtime/window.h"

namespace gossamer {
namespace {

std::vector<DType> byte_type(const Node&, const Types&) { return {DType::uint8}; }
std::vector<DType> float_type(const Node&, const Types&) { return {DType::float32}; }

Shape cells_shape(const Shape& x) {  // of a tensor (batch, C, spatial sizes ...)
  Shape shape = x;
  shape[1] = (x[1] + 3) / 4;
  shape.push_back(4);
  return shape;
}

Shape plain_shape(const Shape& cells, int64_t channels) {
  Shape shape(cells.begin(), cells.end() - 1);
  shape[1] = channels;
  return shape;
}

int64_t pixels_of(const Shape& cells) { return product(cells, 2, cells.size() - 1); }

int small(const Node& node, const char* name) { return static_cast<int>(node.integer(name, 0)); }

// --- into cells and out of them ------------------------------------------------------------------------------------------

void infer_to_cells(Inference& n) {
  const Shape& x = n.shape(0);
  const int64_t channels = n.node.integer("channels", 0);
  if (x.size() < 3 || x.size() > 4) n.fail("input " + shape_text(x) + " of a convolution");
  if (x[1] != channels) n.fail("input " + shape_text(x) + ": the weights need " + std::to_string(channels) + " channels");
  n.outputs = {cells_shape(x)};
}

// Calls part(args, image) for each image and shares its planes.
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
      for (int64_t c = 0; c < channels; ++c)
        for (int64_t p = 0; p < pixels; ++p) {
          f(((n * planes + c / 4) * pixels + p) * 4 + c % 4, (n * channels + c) * pixels + p);
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
  if (n.has(5) && n.shape(5) != n.outputs[0]) {
    throw Unsupported(n.node.label() + ": adds a quantized tensor of another shape, " + shape_text(n.shape(5)) + " to " +
                      shape_text(n.outputs[0]));
  }
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

Step build_conv(Build& b) {
  const Shape& w = b.shape(1);
  CellConv conv;
  const int64_t groups = b.node.integer("group", 1);
  conv.shape = conv_shape(window_of(b.node, b.shape(0), w), b.shape(0)[0], w[1] * groups, w[0], groups);
  conv.byte_weights = b.constant(1)->dense.as<int8_t>();
  conv.initial = b.inputs[2]->known;
  conv.scale = b.known_floats(3);
  conv.shift = b.known_floats(4);
  conv.epilogue = epilogue_of(b.node);
  conv.float_out = b.node.integer("float_out", 0) != 0;
  conv.fill = static_cast<uint8_t>(b.node.integer("x_zero", 0));
  conv.weight_value = b.node.inputs[1];
  conv.x = b.in(0);
  conv.y = b.out();
  conv.residual = b.has(5) ? b.in(5) : kNoSlot;
  if (b.has(5) && b.node.inputs[5] != b.node.inputs[0]) b.in_place.push_back(b.node.inputs[5]);
  return is_depthwise_of_cells(conv) ? depthwise_cells_step(b, conv) : cell_conv_step(b, conv);
}

// --- sums, maxima, means -------------------------------------------------------------------------------------------------

void infer_add(Inference& n) {
  if (n.shape(0) != n.shape(1)) {
    throw Unsupported(n.node.label() + ": adds quantized tensors of different shapes, " + shape_text(n.shape(0)) + " and " +
                      shape_text(n.shape(1)));
  }
  n.outputs = {n.shape(0)};
}

Step build_add(Build& b) {
  ByteAddArgs fixed;
  fixed.a_scale = b.node.real("a_scale", 1);
  fixed.b_scale = b.node.real("b_scale", 1);
  fixed.shift = b.node.real("shift", 0);
  fixed.zero = small(b.node, "zero");
  fixed.low = static_cast<int>(b.node.real("low", 0));
  fixed.high = static_cast<int>(b.node.real("high", 255));
  b.in_place.push_back(b.node.inputs[0]);
  b.in_place.push_back(b.node.inputs[1]);
  const auto& kernel = fastest(kByteAddKernels, b.isa);
  const int64_t lines = (element_count(b.shape(0)) + 63) / 64, bytes = element_count(b.shape(0));
  return {[=, x = b.in(0), z = b.in(1), y = b.out(), add = kernel.run](const Run& run) {
            run.pool->share(lines, [&](int64_t begin, int64_t end, int) {
              ByteAddArgs a = fixed;
              a.a = run.at<uint8_t>(x);
              a.b = run.at<uint8_t>(z);
              a.y = run.at<uint8_t>(y);
              a.begin = begin * 64;
              a.end = end * 64 < bytes ? end * 64 : bytes;
              add(a);
            });
          },
          kernel.name, ""};
}

void infer_max_pool(Inference& n) {
  const Shape& x = n.shape(0);
  const Shape out = window_output(plain_shape(x, 4 * x[1]), 4 * x[1], read_window(n.node, plain_shape(x, 4 * x[1]), {}), n.node);
  n.outputs = {cells_shape(out)};
}

Step build_max_pool(Build& b) {
  const Shape& x = b.shape(0);
  const Window w = read_window(b.node, plain_shape(x, 4 * x[1]), {});
  CellMaxPoolArgs fixed{w.in[0], w.in[1], w.out[0], w.out[1], w.kernel[0], w.kernel[1], w.stride[0], w.stride[1],
                        w.dilation[0], w.dilation[1], w.begin[0], w.begin[1]};
  const auto& kernel = fastest(kCellMaxPoolKernels, b.isa);
  const Slot from = b.in(0), to = b.out(), scratch = b.scratch(4 * w.in[1] * b.threads);
  return {[=, planes = x[0] * x[1], pool = kernel.run](const Run& run) {
            run.pool->share(planes, [&](int64_t begin, int64_t end, int worker) {
              CellMaxPoolArgs a = fixed;
              a.x = run.at<uint8_t>(from);
              a.y = run.at<uint8_t>(to);
              a.scratch = run.at<uint8_t>(scratch) + worker * 4 * a.in_w;
              a.plane_begin = begin;
              a.plane_end = end;
              pool(a);
            });
          },
          kernel.name, ""};
}

void infer_mean(Inference& n) {
  const Shape& x = n.shape(0);
  Shape out{x[0], n.node.integer("channels", 0)};
  if (n.node.integer("keepdims", 1)) out.resize(x.size() - 1, 1);
  n.outputs = {out};
}

Step build_mean(Build& b) {
  CellMeanArgs fixed;
  fixed.channels = b.out_shape()[1];
  fixed.pixels = pixels_of(b.shape(0));
  fixed.scale = b.node.real("scale", 1) / static_cast<float>(fixed.pixels);
  fixed.zero = small(b.node, "zero");
  const auto& kernel = fastest(kCellMeanKernels, b.isa);
  const int64_t batch = b.shape(0)[0], planes = b.shape(0)[1];
  return {[=, x = b.in(0), y = b.out(), mean = kernel.run](const Run& run) {
            each_image(run, batch, planes, fixed, [&](CellMeanArgs& a, int64_t image) {
              a.x = run.at<uint8_t>(x) + image * planes * a.pixels * 4;
              a.y = run.at<float>(y) + image * a.channels;
              mean(a);
            });
          },
          kernel.name, ""};
}

// --- any function of a byte ----------------------------------------------------------------------------------------------

void infer_same(Inference& n) { n.outputs = {n.shape(0)}; }

Step build_lookup(Build& b) {
  b.in_place.push_back(b.node.inputs[0]);
  const int64_t bytes = element_count(b.shape(0));
  return {[=, x = b.in(0), table = b.in(1), y = b.out()](const Run& run) {
            const uint8_t *from = run.at<uint8_t>(x), *values = run.at<uint8_t>(table);
            uint8_t* to = run.at<uint8_t>(y);
            run.pool->share(bytes, [&](int64_t begin, int64_t end, int) {
              for (int64_t i = begin; i < end; ++i) to[i] = values[from[i]];
            });
          },
          "lookup", ""};
}

constexpr Operator kOperators[] = {
    {"gossamer.Quantize", 1, 1, " channels scale zero ", byte_type, infer_to_cells, build_quantize},
    {"gossamer.Dequantize", 1, 1, " channels scale zero ", float_type, infer_from_cells, build_dequantize},
    {"gossamer.ToCells", 1, 1, " channels signed ", byte_type, infer_to_cells, build_to_cells},
    {"gossamer.ToBytes", 1, 1, " channels signed ", byte_type, infer_from_cells, build_to_bytes},
    {"gossamer.Conv", 5, 6, "", byte_type, infer_conv, build_conv},
    {"gossamer.Add", 2, 2, "", byte_type, infer_add, build_add},
    {"gossamer.MaxPool", 1, 1, "", byte_type, infer_max_pool, build_max_pool},
    {"gossamer.Mean", 1, 1, "", float_type, infer_mean, build_mean},
    {"gossamer.Lookup", 2, 2, "", byte_type, infer_same, build_lookup},
};

}  // namespace

std::span<const Operator> cell_operators() { return kOperators; }

}  // namespace gossamer
