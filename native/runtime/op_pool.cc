// MaxPool, AveragePool and BatchNormalization.
#include <cmath>

#include "kernels/elementwise/elementwise.h"
#include "kernels/pool/pool.h"
#include "runtime/errors.h"
#include "runtime/types.h"
#include "runtime/window.h"
#include "runtime/window_nd.h"

namespace gossamer {
namespace {

// Whether the kernels have this pool: float32, one or two spatial dimensions, values alone.
bool has_kernel(const Node& node, const ValueInfo& x) {
  const bool indices = node.outputs.size() > 1 && node.outputs[1] != kAbsent;
  return x.dtype == DType::float32 && x.shape.size() <= 4 && !indices;
}

void infer_pool(Inference& n) {
  if (n.shape(0).size() < 3) n.fail("input " + shape_text(n.shape(0)) + " has no spatial dimension");
  if (!has_kernel(n.node, *n.inputs[0])) return infer_general_pool(n);
  n.outputs = {window_output(n.shape(0), n.shape(0)[1], read_window(n.node, n.shape(0), {}), n.node)};
}

std::vector<DType> max_pool_types(const Node& node, const Types& inputs) {
  if (inputs[0] == DType::boolean) reject_type(node, 0, *inputs[0], "numbers");
  return {*inputs[0], DType::int64};
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
  if (!has_kernel(b.node, *b.inputs[0])) return build_general_pool(b);
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

// scale[c] and shift[c] of y = scale x + shift.
void norm_terms(const float* const parameters[4], double epsilon, int64_t channels, float* scale, float* shift) {
  for (int64_t c = 0; c < channels; ++c) {
    const double factor = parameters[0][c] / std::sqrt(double{parameters[3][c]} + epsilon);
    scale[c] = static_cast<float>(factor);
    shift[c] = static_cast<float>(parameters[1][c] - parameters[2][c] * factor);
  }
}

AffineArgs affine_args(const Build& b) {
  AffineArgs a;
  a.channels = b.shape(0)[1];
  a.planes = b.shape(0)[0] * a.channels;
  a.inner = product(b.shape(0), 2, b.shape(0).size());
  a.low = b.epilogue.low;
  a.high = b.epilogue.high;
  return a;
}

Step computed_batch_norm(Build& b) {
  const AffineArgs fixed = affine_args(b);
  const auto& kernel = fastest(kAffineKernels, b.isa);
  const Slot terms = b.scratch(2 * fixed.channels * 4), parameters[] = {b.in(1), b.in(2), b.in(3), b.in(4)};
  return {[=, x = b.in(0), y = b.out(), epsilon = b.node.real("epsilon", 1e-5f), run_all = kernel.run,
           first = parameters[0], second = parameters[1], third = parameters[2], fourth = parameters[3]](const Run& run) {
            const float* given[] = {run.at<float>(first), run.at<float>(second), run.at<float>(third), run.at<float>(fourth)};
            AffineArgs a = fixed;
            norm_terms(given, epsilon, a.channels, run.at<float>(terms), run.at<float>(terms) + a.channels);
            a.scale = run.at<float>(terms);
            a.shift = a.scale + a.channels;
            a.x = run.at<float>(x);
            a.y = run.at<float>(y);
            run_all(a);
          },
          kernel.name, "the parameters are not constant: combined in every run", element_count(b.shape(0))};
}

Step build_batch_norm(Build& b) {
  const float* parameters[] = {b.known_floats(1), b.known_floats(2), b.known_floats(3), b.known_floats(4)};
  for (const float* parameter : parameters) {
    if (!parameter) return computed_batch_norm(b);
  }
  const AffineArgs fixed = affine_args(b);
  auto terms = std::make_shared<std::vector<float>>(2 * fixed.channels);  // scales, then shifts
  norm_terms(parameters, b.node.real("epsilon", 1e-5f), fixed.channels, terms->data(), terms->data() + fixed.channels);
  b.in_place.push_back(b.node.inputs[0]);
  const auto& kernel = fastest(kAffineKernels, b.isa);
  return {[=, x = b.in(0), y = b.out(), run_all = kernel.run](const Run& run) {
            AffineArgs a = fixed;
            a.scale = terms->data();
            a.shift = terms->data() + a.channels;
            a.x = run.at<float>(x);
            a.y = run.at<float>(y);
            run_all(a);
          },
          kernel.name, "", element_count(b.shape(0))};
}

constexpr Operator kOperators[] = {
    {"MaxPool", 1, 1, " auto_pad ceil_mode dilations kernel_shape pads storage_order strides ", max_pool_types, infer_pool,
     build_pool},
    {"AveragePool", 1, 1, " auto_pad ceil_mode count_include_pad dilations kernel_shape pads strides ", float_types,
     infer_pool, build_pool},
    {"BatchNormalization", 5, 5, " epsilon momentum spatial training_mode ", float_types, infer_batch_norm,
     build_batch_norm, Fusion::clamp},
};

}  // namespace

std::span<const Operator> pool_operators() { return kOperators; }

}  // namespace gossamer
