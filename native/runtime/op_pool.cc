// MaxPool, AveragePool and BatchNormalization.
#include <cmath>

#include "kernels/elementwise/elementwise.h"
#include "kernels/pool/pool.h"
#include "runtime/errors.h"
#include "runtime/window.h"

namespace gossamer {
namespace {

void infer_pool(Inference& n) {
  if (n.node.outputs.size() > 1 && n.node.outputs[1] != kAbsent) {
    throw Unsupported(n.node.label() + ": the output of indices; only the values are supported");
  }
  if (n.node.integer("storage_order", 0) != 0) throw Unsupported(n.node.label() + ": storage_order 1");
  if (n.shape(0).size() < 3) n.fail("input " + shape_text(n.shape(0)) + " has no spatial dimension");
  n.outputs = {window_output(n.shape(0), n.shape(0)[1], read_window(n.node, n.shape(0), {}), n.node)};
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
    {"MaxPool", 1, 1, " auto_pad ceil_mode dilations kernel_shape pads storage_order strides ", float_types, infer_pool,
     build_pool},
    {"AveragePool", 1, 1, " auto_pad ceil_mode count_include_pad dilations kernel_shape pads strides ", float_types,
     infer_pool, build_pool},
    {"BatchNormalization", 5, 5, " epsilon momentum spatial training_mode ", float_types, infer_batch_norm,
     build_batch_norm, Fusion::clamp},
};

}  // namespace

std::span<const Operator> pool_operators() { return kOperators; }

}  // namespace gossamer
