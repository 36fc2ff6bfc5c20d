// Conv.
#include <algorithm>

#include "kernels/conv/method.h"
#include "runtime/errors.h"
#include "runtime/sparse_conv.h"
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

// A convolution by single pixels does not care where rows end: fewer and longer ones leave fewer ragged ends.
void merge_rows(ConvShape& s) {
  constexpr int64_t kMostMerged = 1024;  // pixels
  const bool pointwise = s.kernel_h == 1 && s.kernel_w == 1 && s.stride_h == 1 && s.stride_w == 1;
  if (!pointwise || s.in_h != s.out_h || s.in_w != s.out_w) return;
  int64_t merged = std::min(s.in_h, kMostMerged / s.in_w);
  while (merged > 1 && s.in_h % merged != 0) --merged;
  if (merged <= 1) return;
  s.in_h = s.out_h = s.in_h / merged;
  s.in_w = s.out_w = s.in_w * merged;
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

std::string conv_note(const Build& b) {
  const Constant* w = b.constant(1);
  return w ? w->note : "";
}

// The weights as the method reads them, shared by all plans that use it for them.
PackedWeights::Memory pack(Build& b, const ConvMethod& method, const ConvKernel& kernel, const ConvShape& s) {
  const float* weights = b.known_floats(1);
  const int64_t size = method.weights_size(s, kernel.tile);
  const std::string key = std::string(kernel.name) + ":" + std::to_string(b.node.inputs[1]) + ":" +
                          std::to_string(s.groups) + ":" + std::to_string(size);
  return b.packed.get(key, [&] {
    Tensor memory = make_tensor(DType::float32, {size});
    method.pack(s, weights, kernel.tile, memory.as<float>());
    return memory.data;
  });
}

Step build_conv(Build& b) {
  if (b.shape(0).size() > 4 || !b.known_floats(1)) return build_general_conv(b);
  const ConvShape s = conv_shape(b);
  const ConvMethod& method = *conv_candidates(s, b.isa).front();
  const ConvKernel& kernel = method.kernel(b.isa);
  if (auto sparse = sparse_conv_step(b, s, method.cycles(s, kernel.tile))) return *std::move(sparse);
  const auto weights = pack(b, method, kernel, s);
  ConvArgs fixed;
  fixed.shape = s;
  fixed.low = b.epilogue.low;
  fixed.high = b.epilogue.high;
  const int64_t floats = method.scratch(s, kernel.tile), tasks = method.tasks(s, kernel.tile);
  const Slot x = b.in(0), y = b.out(), scratch = b.scratch(floats * 4 * b.threads);
  const Slot bias = b.has(2) ? b.in(2) : b.optional(b.epilogue.bias), residual = b.optional(b.epilogue.residual);
  if (residual != kNoSlot) b.in_place.push_back(b.epilogue.residual);
  return {[=, run_tasks = kernel.run](const Run& run) {
            run.pool->share(tasks, [&](int64_t begin, int64_t end, int worker) {
              ConvArgs a = fixed;
              a.weights = static_cast<const float*>(weights.get());
              a.x = run.at<float>(x);
              a.y = run.at<float>(y);
              a.bias = run.at<float>(bias);
              a.residual = run.at<float>(residual);
              a.scratch = run.at<float>(scratch) + worker * floats;
              a.task_begin = begin;
              a.task_end = end;
              run_tasks(a);
            });
          },
          kernel.name, conv_note(b), s.batch * s.out_channels * s.pixels() * s.depth(), method.weights_size(s, kernel.tile) * 4};
}

constexpr Operator kOperators[] = {
    {"Conv", 2, 3, " auto_pad dilations group kernel_shape pads strides ", float_types, infer_conv, build_conv,
     Fusion::affine},
};

}  // namespace

std::span<const Operator> conv_operators() { return kOperators; }

}  // namespace gossamer
