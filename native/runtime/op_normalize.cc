// Normalizations: InstanceNormalization, GroupNormalization, RMSNormalization, LRN, LpNormalization and
// Hardmax.
#include <algorithm>
#include <cmath>

#include "kernels/rows/rows.h"
#include "runtime/errors.h"
#include "runtime/loops.h"

namespace gossamer {
namespace {

// --- instances, groups ---------------------------------------------------------------------------------------------------

void infer_instance(Inference& n) {
  if (n.shape(0).size() < 2) n.fail("input " + shape_text(n.shape(0)) + " has no channels");
  for (size_t i = 1; i < 3; ++i) {
    if (n.shape(i) != Shape{n.shape(0)[1]}) n.fail("a parameter has shape " + shape_text(n.shape(i)));
  }
  infer_same(n);
}

void infer_group(Inference& n) {
  if (n.shape(0).size() < 2) n.fail("input " + shape_text(n.shape(0)) + " has no channels");
  const int64_t groups = n.node.integer("num_groups", 0), channels = n.shape(0)[1];
  if (groups < 1 || channels % groups) n.fail(std::to_string(channels) + " channels in " + std::to_string(groups) + " groups");
  const Shape wanted{n.opset >= 21 ? channels : groups};  // one parameter per group before opset 21
  for (size_t i = 1; i < 3; ++i) {
    if (n.shape(i) != wanted) n.fail("a parameter has shape " + shape_text(n.shape(i)));
  }
  infer_same(n);
}

// y = (x - mean) / deviation * scale + shift; mean and deviation of each group of channels of each image.
Step build_group(Build& b) {
  const Shape& x = b.shape(0);
  const int64_t groups = b.node.op == "InstanceNormalization" ? x[1] : b.node.integer("num_groups", 1);
  const int64_t each = x[1] / groups, area = product(x, 2, x.size());
  const bool by_channel = b.shape(1)[0] == x[1];
  LayerNormArgs fixed;
  fixed.outer = 1;
  fixed.n = each * area;
  fixed.area = by_channel ? area : fixed.n;
  fixed.epsilon = b.node.real("epsilon", 1e-5f);
  const int64_t total = fixed.n ? x[0] * groups : 0;
  const auto& kernel = fastest(kLayerNormKernels, b.isa);
  b.in_place.push_back(b.node.inputs[0]);
  return {[=, standardize = kernel.run, in = b.in(0), scale = b.in(1), shift = b.in(2), y = b.out()](const Run& run) {
            run.pool->share(total, [&](int64_t begin, int64_t end, int) {
              for (int64_t g = begin; g < end; ++g) {
                LayerNormArgs a = fixed;
                const int64_t first = g % groups * (by_channel ? each : 1);
                a.x = run.at<float>(in) + g * a.n;
                a.y = run.at<float>(y) + g * a.n;
                a.scale = run.at<float>(scale) + first;
                a.shift = run.at<float>(shift) + first;
                standardize(a);
              }
            });
          },
          kernel.name, ""};
}

// --- along the last dimensions -----------------------------------------------------------------------------------------

void infer_rms(Inference& n) {
  const Shape& x = n.shape(0);
  wrap_axis(n.node.integer("axis", -1), static_cast<int64_t>(x.size()), n.node);
  if (broadcast(x, n.shape(1), n.node) != x) n.fail("the scale does not broadcast to the input");
  infer_same(n);
}

// y = x / sqrt(mean of x^2 + epsilon) * scale. A scale of fewer dimensions repeats: one for each element of a piece of a row.
Step build_rms(Build& b) {
  const Shape& x = b.shape(0);
  const auto axis = static_cast<size_t>(wrap_axis(b.node.integer("axis", -1), static_cast<int64_t>(x.size()), b.node));
  LayerNormArgs fixed;
  fixed.n = product(x, axis, x.size());
  fixed.epsilon = b.node.real("epsilon", 1e-5f);
  fixed.centered = false;
  const int64_t rows = fixed.n ? product(x, 0, axis) : 0, n = fixed.n, scales = element_count(b.shape(1));
  if (n && (scales > n || n % scales)) throw Unsupported(b.node.label() + ": a scale of shape " + shape_text(b.shape(1)));
  const Slot repeated = b.scratch(n * 4);
  b.in_place.push_back(b.node.inputs[0]);
  const auto& kernel = fastest(kLayerNormKernels, b.isa);
  return {[=, normalize = kernel.run, in = b.in(0), scale = b.in(1), y = b.out()](const Run& run) {
            const float* factors = run.at<float>(scale);
            if (scales < n) {
              for (int64_t i = 0; i < n; ++i) run.at<float>(repeated)[i] = factors[i % scales];
              factors = run.at<float>(repeated);
            }
            run.pool->share(rows, [&](int64_t begin, int64_t end, int) {
              LayerNormArgs a = fixed;
              a.outer = end - begin;
              a.x = run.at<float>(in) + begin * n;
              a.y = run.at<float>(y) + begin * n;
              a.scale = factors;
              normalize(a);
            });
          },
          kernel.name, ""};
}

void infer_lines(Inference& n) {
  wrap_axis(n.node.integer("axis", -1), static_cast<int64_t>(n.shape(0).size()), n.node);
  infer_same(n);
}

// Calls f(x, y, n, stride) for every line along the axis; with `flat` the dimensions from the axis on are one line.
template <class Function>
Step line_step(Build& b, int64_t given, bool flat, const Function& f) {
  const Shape& x = b.shape(0);
  const auto axis = static_cast<size_t>(wrap_axis(given, static_cast<int64_t>(x.size()), b.node));
  const int64_t n = flat ? product(x, axis, x.size()) : x[axis], inner = flat ? 1 : product(x, axis + 1, x.size());
  return {[=, lines = product(x, 0, axis) * inner, in = b.in(0), out = b.out()](const Run& run) {
            for (int64_t line = 0; line < lines; ++line) {
              const int64_t at = line / inner * n * inner + line % inner;
              f(run.at<float>(in) + at, run.at<float>(out) + at, n, inner);
            }
          },
          "plain loop", ""};
}

Step build_lp(Build& b) {
  const int64_t p = b.node.integer("p", 2);
  if (p != 1 && p != 2) throw ModelError(b.node.label() + ": p is " + std::to_string(p));
  return line_step(b, b.node.integer("axis", -1), false, [p](const float* x, float* y, int64_t n, int64_t stride) {
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += p == 1 ? std::fabs(double{x[i * stride]}) : double{x[i * stride]} * x[i * stride];
    const double norm = p == 1 ? sum : std::sqrt(sum);
    for (int64_t i = 0; i < n; ++i) y[i * stride] = norm == 0 ? 0.0f : static_cast<float>(x[i * stride] / norm);
  });
}

void infer_hardmax(Inference& n) {
  wrap_axis(n.node.integer("axis", n.opset >= 13 ? -1 : 1), static_cast<int64_t>(n.shape(0).size()), n.node);
  infer_same(n);
}

Step build_hardmax(Build& b) {
  const bool one_axis = b.model.opset >= 13;
  return line_step(b, b.node.integer("axis", one_axis ? -1 : 1), !one_axis, [](const float* x, float* y, int64_t n, int64_t stride) {
    int64_t best = 0;
    for (int64_t i = 1; i < n; ++i) best = x[i * stride] > x[best * stride] ? i : best;
    for (int64_t i = 0; i < n; ++i) y[i * stride] = i == best;
  });
}

// --- across channels -----------------------------------------------------------------------------------------------------

void infer_lrn(Inference& n) {
  if (n.shape(0).size() < 2) n.fail("input " + shape_text(n.shape(0)) + " has no channels");
  if (n.node.integer("size", 0) < 1) throw ModelError(n.node.label() + ": 'size' is missing or not positive");
  infer_same(n);
}

// y = x / (bias + alpha / size * sum of the squares of the `size` channels around it) ^ beta (Krizhevsky et al. 2012).
Step build_lrn(Build& b) {
  const Shape& x = b.shape(0);
  const int64_t size = std::min<int64_t>(b.node.integer("size", 1), kMaxElements), channels = x[1], area = product(x, 2, x.size()), images = x[0];
  const double alpha = b.node.real("alpha", 1e-4f), beta = b.node.real("beta", 0.75f), bias = b.node.real("bias", 1);
  return {[=, in = b.in(0), y = b.out()](const Run& run) {
            for (int64_t i = 0; i < images * channels * area; ++i) {
              const int64_t c = i / area % channels, first = i - c * area;
              const int64_t begin = std::max<int64_t>(0, c - (size - 1) / 2), end = std::min(channels - 1, c + size / 2) + 1;
              double squares = 0;
              for (int64_t k = begin; k < end; ++k) squares += double{run.at<float>(in)[first + k * area]} * run.at<float>(in)[first + k * area];
              run.at<float>(y)[i] = static_cast<float>(run.at<float>(in)[i] / std::pow(bias + alpha / static_cast<double>(size) * squares, beta));
            }
          },
          "plain loop", ""};
}

constexpr Operator kOperators[] = {
    {"InstanceNormalization", 3, 3, " epsilon ", float_types, infer_instance, build_group},
    {"GroupNormalization", 3, 3, " epsilon num_groups stash_type ", float_types, infer_group, build_group},
    {"RMSNormalization", 2, 2, " axis epsilon stash_type ", float_types, infer_rms, build_rms},
    {"LpNormalization", 1, 1, " axis p ", float_types, infer_lines, build_lp},
    {"Hardmax", 1, 1, " axis ", float_types, infer_hardmax, build_hardmax},
    {"LRN", 1, 1, " alpha beta bias size ", float_types, infer_lrn, build_lrn},
};

}  // namespace

std::span<const Operator> normalize_operators() { return kOperators; }

}  // namespace gossamer
