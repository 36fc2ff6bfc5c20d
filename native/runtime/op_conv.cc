// Conv, MaxPool, AveragePool and BatchNormalization.
#include <cmath>

#include "kernels/conv/conv.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/pool/pool.h"
#include "runtime/errors.h"
#include "runtime/op.h"

namespace gossamer {
namespace {

// A window that slides over one or two spatial dimensions; one dimension is two with a height of 1.
struct Window {
  int64_t kernel[2] = {1, 1}, stride[2] = {1, 1}, dilation[2] = {1, 1}, begin[2] = {0, 0}, end[2] = {0, 0};
  int64_t in[2] = {1, 1}, out[2] = {1, 1};
};

constexpr int64_t kMostPadding = int64_t{1} << 20;

void read_sizes(const Node& node, const char* name, size_t spatial, int64_t least, int64_t* out) {
  const std::vector<int64_t> given = node.integers(name);
  if (given.empty()) return;
  if (given.size() != spatial) throw ModelError(node.label() + ": '" + name + "' needs one number per spatial dimension");
  for (size_t d = 0; d < spatial; ++d) {
    if (given[d] < least || given[d] > kMostPadding) {
      throw ModelError(node.label() + ": '" + name + "' holds " + std::to_string(given[d]) + ", which is out of range");
    }
    out[d + 2 - spatial] = given[d];
  }
}

void read_pads(const Node& node, size_t spatial, Window& w) {
  const std::vector<int64_t> given = node.integers("pads");
  if (given.empty()) return;
  if (given.size() != 2 * spatial) throw ModelError(node.label() + ": 'pads' needs two numbers per spatial dimension");
  for (size_t d = 0; d < spatial; ++d) {
    w.begin[d + 2 - spatial] = given[d];
    w.end[d + 2 - spatial] = given[spatial + d];
  }
  for (const int64_t pad : given) {
    if (pad < 0 || pad > kMostPadding) throw Unsupported(node.label() + ": padding " + std::to_string(pad));
  }
}

void pad_automatically(const Node& node, size_t spatial, Window& w) {
  const std::string mode = node.text("auto_pad", "NOTSET");
  if (mode == "NOTSET" || mode == "VALID") return;
  if (mode != "SAME_UPPER" && mode != "SAME_LOWER") throw ModelError(node.label() + ": auto_pad '" + mode + "'");
  for (size_t d = 2 - spatial; d < 2; ++d) {
    const int64_t out = (w.in[d] + w.stride[d] - 1) / w.stride[d];
    const int64_t reach = (out - 1) * w.stride[d] + (w.kernel[d] - 1) * w.dilation[d] + 1;
    const int64_t pad = reach > w.in[d] ? reach - w.in[d] : 0;
    w.begin[d] = mode == "SAME_UPPER" ? pad / 2 : pad - pad / 2;
    w.end[d] = pad - w.begin[d];
  }
}

int64_t slides(int64_t room, int64_t stride, bool ceil) { return room < 0 ? 0 : (room + (ceil ? stride - 1 : 0)) / stride + 1; }

// `kernel`: from the weights, or empty: from the attribute.
Window read_window(const Node& node, const Shape& x, const Shape& kernel) {
  const size_t spatial = x.size() < 2 ? 0 : x.size() - 2;
  if (spatial < 1 || spatial > 2) {
    throw Unsupported(node.label() + ": " + std::to_string(x.size()) + "-dimensional input; 3 or 4 dimensions (batch, "
                      "channels, one or two spatial ones) are supported");
  }
  Window w;
  for (size_t d = 0; d < spatial; ++d) {
    w.in[d + 2 - spatial] = x[d + 2];
    if (!kernel.empty()) w.kernel[d + 2 - spatial] = kernel[d];
  }
  if (kernel.empty()) read_sizes(node, "kernel_shape", spatial, 1, w.kernel);
  read_sizes(node, "strides", spatial, 1, w.stride);
  read_sizes(node, "dilations", spatial, 1, w.dilation);
  if (node.text("auto_pad", "NOTSET") == "NOTSET") read_pads(node, spatial, w);
  pad_automatically(node, spatial, w);
  const bool ceil = node.integer("ceil_mode", 0) != 0;
  for (size_t d = 2 - spatial; d < 2; ++d) {
    const int64_t room = w.in[d] + w.begin[d] + w.end[d] - (w.kernel[d] - 1) * w.dilation[d] - 1;
    w.out[d] = slides(room, w.stride[d], ceil);
    // A window that would begin in the padding behind the input is left out, as PyTorch and ONNX Runtime do.
    if (ceil && w.out[d] > 1 && (w.out[d] - 1) * w.stride[d] >= w.in[d] + w.begin[d]) --w.out[d];
  }
  return w;
}

Shape output_shape(const Shape& x, int64_t channels, const Window& w, const Node& node) {
  Shape out{x[0], channels};
  if (x.size() == 4) out.push_back(w.out[0]);
  out.push_back(w.out[1]);
  for (size_t d = 2; d < out.size(); ++d) {
    if (out[d] <= 0) throw ShapeError(node.label() + ": input " + shape_text(x) + " is smaller than the kernel");
  }
  return out;
}

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
  n.outputs = {output_shape(x, w[0], read_window(n.node, x, kernel), n.node)};
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
  return s;
}

std::string conv_note(const Build& b, const ConvShape& s) {
  const Constant* w = b.constant(1);
  std::string note = w ? w->note : "";
  if (s.depth() / (s.kernel_h * s.kernel_w) == 1 && s.groups > 1) {
    note += std::string(note.empty() ? "" : "; ") + "depthwise through the general kernel, one row of a tile at a time";
  }
  return note;
}

Step build_conv(Build& b) {
  const ConvKernel& kernel = fastest(kConvKernels, b.isa);
  const ConvShape s = conv_shape(b);
  const float* weights = b.known_floats(1);
  if (!weights) throw Unsupported(b.node.label() + ": weights that are computed at run time; make them a constant");
  const auto packed = b.packed.get("conv:" + std::to_string(b.node.inputs[1]) + ":" + std::to_string(s.groups), [&] {
    Tensor memory = make_tensor(DType::float32, {packed_weights_size(s, kernel.tile.rows)});
    pack_weights(s, weights, kernel.tile.rows, memory.as<float>());
    return memory.data;
  });
  ConvArgs fixed;
  fixed.shape = s;
  fixed.weights = static_cast<const float*>(packed.get());
  fixed.low = b.epilogue.low;
  fixed.high = b.epilogue.high;
  const Slot x = b.in(0), y = b.out(), scratch = b.scratch(kConvScratch * 4 * b.threads);
  const Slot bias = b.has(2) ? b.in(2) : b.optional(b.epilogue.bias), residual = b.optional(b.epilogue.residual);
  if (residual != kNoSlot) b.in_place.push_back(b.epilogue.residual);
  const int64_t tasks = conv_tasks(s, kernel.tile.width);
  return {[=, run_tasks = kernel.run](const Run& run) {
            run.pool->share(tasks, [&](int64_t begin, int64_t end, int worker) {
              ConvArgs a = fixed;
              a.weights = static_cast<const float*>(packed.get());
              a.x = run.at<float>(x);
              a.y = run.at<float>(y);
              a.bias = run.at<float>(bias);
              a.residual = run.at<float>(residual);
              a.scratch = run.at<float>(scratch) + worker * kConvScratch;
              a.task_begin = begin;
              a.task_end = end;
              run_tasks(a);
            });
          },
          kernel.name, conv_note(b, s), s.batch * s.out_channels * s.pixels() * s.depth()};
}

// --- pooling -------------------------------------------------------------------------------------------------------------

void infer_pool(Inference& n) {
  if (n.node.outputs.size() > 1 && n.node.outputs[1] != kAbsent) {
    throw Unsupported(n.node.label() + ": the output of indices; only the values are supported");
  }
  if (n.node.integer("storage_order", 0) != 0) throw Unsupported(n.node.label() + ": storage_order 1");
  if (n.shape(0).size() < 3) n.fail("input " + shape_text(n.shape(0)) + " has no spatial dimension");
  n.outputs = {output_shape(n.shape(0), n.shape(0)[1], read_window(n.node, n.shape(0), {}), n.node)};
}

PoolArgs pool_args(const Build& b) {
  const Window w = read_window(b.node, b.shape(0), {});
  PoolArgs a;
  a.average = b.node.op == "AveragePool";
  a.count_padding = b.node.integer("count_include_pad", 0) != 0;
  a.planes = b.shape(0)[0] * b.shape(0)[1];
  a.in_h = w.in[0];
  a.in_w = w.in[1];
  a.out_h = w.out[0];
  a.out_w = w.out[1];
  a.kernel_h = w.kernel[0];
  a.kernel_w = w.kernel[1];
  a.stride_h = w.stride[0];
  a.stride_w = w.stride[1];
  a.dilation_h = w.dilation[0];
  a.dilation_w = w.dilation[1];
  a.pad_top = w.begin[0];
  a.pad_left = w.begin[1];
  a.pad_bottom = w.end[0];
  a.pad_right = w.end[1];
  return a;
}

Step build_pool(Build& b) {
  const PoolArgs fixed = pool_args(b);
  const int64_t floats = pool_scratch(fixed);
  const Slot x = b.in(0), y = b.out(), scratch = b.scratch(floats * 4 * b.threads);
  const auto& kernel = fastest(kPoolKernels, b.isa);
  return {[=, run_planes = kernel.run](const Run& run) {
            run.pool->share(fixed.planes, [&](int64_t begin, int64_t end, int worker) {
              PoolArgs a = fixed;
              a.x = run.at<float>(x);
              a.y = run.at<float>(y);
              a.scratch = run.at<float>(scratch) + worker * floats;
              a.plane_begin = begin;
              a.plane_end = end;
              run_planes(a);
            });
          },
          kernel.name, "", 0};
}

// --- batch normalization that could not be folded into a convolution -------------------------------------------------

void infer_batch_norm(Inference& n) {
  if (n.node.integer("training_mode", 0) != 0) throw Unsupported(n.node.label() + ": training_mode 1");
  for (size_t i = 1; i < n.node.outputs.size(); ++i) {
    if (n.node.outputs[i] != kAbsent) throw Unsupported(n.node.label() + ": outputs of training");
  }
  if (n.shape(0).size() < 2) n.fail("input " + shape_text(n.shape(0)) + " has no channels");
  for (size_t i = 1; i < 5; ++i) {
    if (n.shape(i) != Shape{n.shape(0)[1]}) n.fail("a parameter has shape " + shape_text(n.shape(i)));
  }
  n.outputs = {n.shape(0)};
}

Step build_batch_norm(Build& b) {
  const int64_t channels = b.shape(0)[1];
  auto terms = std::make_shared<std::vector<float>>(2 * channels);  // scales, then shifts
  for (int64_t c = 0; c < channels; ++c) {
    const float *scale = b.known_floats(1), *shift = b.known_floats(2), *mean = b.known_floats(3), *var = b.known_floats(4);
    if (!scale || !shift || !mean || !var) throw Unsupported(b.node.label() + ": parameters that are not constant");
    const double factor = scale[c] / std::sqrt(double{var[c]} + b.node.real("epsilon", 1e-5f));
    (*terms)[static_cast<size_t>(c)] = static_cast<float>(factor);
    (*terms)[static_cast<size_t>(channels + c)] = static_cast<float>(shift[c] - mean[c] * factor);
  }
  AffineArgs fixed;
  fixed.planes = b.shape(0)[0] * channels;
  fixed.channels = channels;
  fixed.inner = product(b.shape(0), 2, b.shape(0).size());
  fixed.low = b.epilogue.low;
  fixed.high = b.epilogue.high;
  b.in_place.push_back(b.node.inputs[0]);
  const auto& kernel = fastest(kAffineKernels, b.isa);
  return {[=, x = b.in(0), y = b.out(), run_all = kernel.run](const Run& run) {
            AffineArgs a = fixed;
            a.scale = terms->data();
            a.shift = terms->data() + channels;
            a.x = run.at<float>(x);
            a.y = run.at<float>(y);
            run_all(a);
          },
          kernel.name, "", element_count(b.shape(0))};
}

constexpr Operator kOperators[] = {
    {"Conv", 2, 3, " auto_pad dilations group kernel_shape pads strides ", float_types, infer_conv, build_conv,
     Fusion::affine},
    {"MaxPool", 1, 1, " auto_pad ceil_mode dilations kernel_shape pads storage_order strides ", float_types, infer_pool,
     build_pool},
    {"AveragePool", 1, 1, " auto_pad ceil_mode count_include_pad dilations kernel_shape pads strides ", float_types,
     infer_pool, build_pool},
    {"BatchNormalization", 5, 5, " epsilon momentum spatial training_mode ", float_types, infer_batch_norm,
     build_batch_norm, Fusion::clamp},
};

}  // namespace

std::span<const Operator> conv_operators() { return kOperators; }

}  // namespace gossamer
