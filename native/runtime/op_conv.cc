// Conv.
#include "runtime/coded_weight.h"
#include "runtime/conv_step.h"
#include "runtime/errors.h"
#include "runtime/window.h"
#include "runtime/window_nd.h"

namespace gossamer {
namespace {

void infer_conv(Inference& n) {
  const Shape &x = n.shape(0), &w = n.shape(1);
  const int64_t groups = n.node.integer("group", 1);
  if (x.size() < 3 || w.size() != x.size()) n.fail("input " + shape_text(x) + " and weights " + shape_text(w));
  if (groups < 1 || w[0] < 1 || w[0] % groups || w[1] < 1 || x[1] != w[1] * groups) {
    n.fail("input " + shape_text(x) + " and weights " + shape_text(w) + " do not fit, group = " + std::to_string(groups));
  }
  const Shape kernel(w.begin() + 2, w.end());
  for (const int64_t size : kernel) {
    if (size < 1) n.fail("weights " + shape_text(w) + " have an empty kernel");
  }
  if (n.has(2) && n.shape(2) != Shape{w[0]}) n.fail("the bias has shape " + shape_text(n.shape(2)));
  if (x.size() <= 4) {
    n.outputs = {window_output(x, w[0], read_window(n.node, x, kernel), n.node)};
    return;
  }
  Shape out{x[0], w[0]};
  const WindowNd window = window_nd(n.node, x, kernel);
  out.insert(out.end(), window.out.begin(), window.out.end());
  n.outputs = {out};
}

ConvShape conv_shape(const Build& b) {
  const Shape &x = b.shape(0), &w = b.shape(1);
  const Window window = read_window(b.node, x, Shape(w.begin() + 2, w.end()));
  ConvShape s;
  s.batch = x[0];
  s.groups = b.node.integer("group", 1);
  s.in_channels = x[1];
  s.out_channels = w[0];
  s.in_h = window.in[0];
  s.in_w = window.in[1];
  s.out_h = window.out[0];
  s.out_w = window.out[1];
  s.kernel_h = window.kernel[0];
  s.kernel_w = window.kernel[1];
  s.stride_h = window.stride[0];
  s.stride_w = window.stride[1];
  s.dilation_h = window.dilation[0];
  s.dilation_w = window.dilation[1];
  s.pad_top = window.begin[0];
  s.pad_left = window.begin[1];
  merge_rows(s);
  return s;
}

Step build_conv(Build& b) {
  if (b.shape(0).size() > 4 || (!b.known_floats(1) && !coded_input(b, 1))) return build_general_conv(b);
  return conv_step(b, conv_shape(b));
}

constexpr Operator kOperators[] = {
    {"Conv", 2, 3, " auto_pad dilations group kernel_shape pads strides ", float_types, infer_conv, build_conv,
     Fusion::affine},
};

}  // namespace

std::span<const Operator> conv_operators() { return kOperators; }

}  // namespace gossamer
