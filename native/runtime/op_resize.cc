// Resize: nearest, linear and cubic, dimension after dimension. Each output coordinate of a dimension is a weighted sum of
// neighbouring input coordinates; those beyond the edge repeat it.
#include <algorithm>
#include <cmath>
#include <memory>

#include "runtime/errors.h"
#include "runtime/op.h"
#include "runtime/types.h"

namespace gossamer {
namespace {

constexpr int64_t kMostTaps = 1 << 16, kMostCoordinates = 1 << 24;  // what is written down for each of them takes memory

// One dimension.
struct Axis {
  int64_t in = 1, out = 1;
  double scale = 1, begin = 0, end = 1;  // begin, end: the region of interest
  bool resized() const { return in != out || scale != 1 || begin != 0 || end != 1; }
};

std::vector<double> numbers(const Inference& n, size_t i) {
  const ValueInfo& info = *n.inputs[i];
  if (!info.known) throw NeedsContent(n.node.label() + ": input " + std::to_string(i) + " decides a shape and depends on what the network is given", n.node.inputs[i]);
  std::vector<double> result;
  with_type(info.dtype, [&]<class T>(T) {
    for (int64_t k = 0; k < element_count(info.shape); ++k) result.push_back(static_cast<double>(reinterpret_cast<const T*>(info.known)[k]));
  });
  return result;
}

// The input of that meaning: opset 10 has (x, scales), later ones (x, roi, scales, sizes).
std::vector<double> scales_of(const Inference& n) {
  const size_t i = n.opset < 11 && !n.has(2) ? 1 : 2;
  if (n.has(i)) return numbers(n, i);
  std::vector<double> result;
  if (const Attribute* given = n.node.find("scales")) {
    if (const auto* floats = std::get_if<std::vector<float>>(given)) result.assign(floats->begin(), floats->end());
  }
  return result;
}

std::vector<size_t> resized_axes(const Inference& n) {
  const std::vector<int64_t> given = n.node.integers("axes");
  const size_t rank = n.shape(0).size();
  std::vector<size_t> axes;
  for (const int64_t axis : given) axes.push_back(static_cast<size_t>(wrap_axis(axis, static_cast<int64_t>(rank), n.node)));
  for (size_t d = 0; given.empty() && d < rank; ++d) axes.push_back(d);
  return axes;
}

void set_scales(const Inference& n, const std::vector<size_t>& axes, const std::vector<double>& scales, std::vector<Axis>& result) {
  for (size_t i = 0; i < axes.size(); ++i) {
    Axis& axis = result[axes[i]];
    const double size = std::floor(static_cast<float>(axis.in) * static_cast<float>(scales[i]));  // 300 * 1.3 are 390, as for the standard
    if (!(scales[i] > 0) || size > static_cast<double>(kMaxElements)) n.fail("a scale is not positive, or too large");
    axis.scale = scales[i];
    axis.out = static_cast<int64_t>(size);
  }
}

void set_sizes(const Inference& n, const std::vector<size_t>& axes, const std::vector<double>& sizes, std::vector<Axis>& result) {
  const std::string policy = n.node.text("keep_aspect_ratio_policy", "stretch");
  double common = policy == "not_larger" ? INFINITY : 0;
  for (size_t i = 0; i < axes.size(); ++i) {
    Axis& axis = result[axes[i]];
    if (sizes[i] < 0 || sizes[i] > static_cast<double>(kMaxElements)) n.fail("a size is out of range");
    axis.out = static_cast<int64_t>(sizes[i]);
    axis.scale = axis.in ? sizes[i] / static_cast<double>(axis.in) : 1;
    common = policy == "not_larger" ? std::min(common, axis.scale) : std::max(common, axis.scale);
  }
  if (policy == "stretch") return;
  for (const size_t d : axes) {
    result[d].scale = common;
    result[d].out = static_cast<int64_t>(std::floor(common * static_cast<double>(result[d].in) + 0.5));
  }
}

std::vector<Axis> axes_of(const Inference& n) {
  const Shape& x = n.shape(0);
  std::vector<Axis> result(x.size());
  for (size_t d = 0; d < x.size(); ++d) result[d].in = result[d].out = x[d];
  const std::vector<size_t> axes = resized_axes(n);
  const std::vector<double> scales = scales_of(n), sizes = scales.empty() && n.has(3) ? numbers(n, 3) : std::vector<double>{};
  if ((scales.empty() ? sizes : scales).size() != axes.size()) n.fail("it needs one scale or size per resized dimension");
  if (!scales.empty()) set_scales(n, axes, scales, result);
  else set_sizes(n, axes, sizes, result);
  if (n.node.text("coordinate_transformation_mode", "half_pixel") != "tf_crop_and_resize") return result;
  const std::vector<double> region = n.has(1) ? numbers(n, 1) : std::vector<double>{};
  if (region.size() != 2 * axes.size()) n.fail("the region of interest needs two numbers per resized dimension");
  for (size_t i = 0; i < axes.size(); ++i) {
    result[axes[i]].begin = region[i];
    result[axes[i]].end = region[axes.size() + i];
  }
  return result;
}

// --- coordinates and weights ---------------------------------------------------------------------------------------------

// Where output coordinate i lies in the input.
double source(const std::string& mode, const Axis& a, int64_t i) {
  const double x = static_cast<double>(i), in = static_cast<double>(a.in), out = a.scale * in;
  if (mode == "asymmetric") return x / a.scale;
  if (mode == "align_corners") return out == 1 ? 0 : x * (in - 1) / (out - 1);
  if (mode == "tf_half_pixel_for_nn") return (x + 0.5) / a.scale;
  if (mode == "tf_crop_and_resize") {
    const double width = (a.end - a.begin) * (in - 1);
    return a.begin * (in - 1) + (out == 1 ? width / 2 : x * width / (out - 1));
  }
  const double half = (x + 0.5) / a.scale - 0.5;
  if (mode == "pytorch_half_pixel") return out == 1 ? -0.5 : half;
  if (mode == "half_pixel_symmetric") return in / 2 * (1 - static_cast<double>(a.out) / out) + half;
  return half;
}

// The kernel of Keys (1981) with parameter a.
double cubic(double x, double a) {
  x = std::fabs(x);
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

// What a node asks for, read once.
struct Mode {
  std::string kind, coordinates, nearest;
  bool antialias, exclude_outside;
  double a;
};

Mode mode_of(const Node& node, int64_t opset) {
  Mode mode{node.text("mode", "nearest"), node.text("coordinate_transformation_mode", opset < 11 ? "asymmetric" : "half_pixel"),
            node.text("nearest_mode", opset < 11 ? "floor" : "round_prefer_floor"), node.integer("antialias", 0) != 0,
            node.integer("exclude_outside", 0) != 0, node.real("cubic_coeff_a", -0.75f)};
  if (mode.kind == "bilinear") mode.kind = "linear";  // Upsample-7
  constexpr const char* kKinds[] = {"nearest", "linear", "cubic"};
  constexpr const char* kCoordinates[] = {"half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
                                          "tf_half_pixel_for_nn", "tf_crop_and_resize"};
  const auto known = [](const auto& names, const std::string& name) { return std::any_of(std::begin(names), std::end(names), [&](const char* n) { return name == n; }); };
  if (!known(kKinds, mode.kind)) throw ModelError(node.label() + ": mode '" + mode.kind + "'");
  if (!known(kCoordinates, mode.coordinates)) throw ModelError(node.label() + ": coordinate_transformation_mode '" + mode.coordinates + "'");
  return mode;
}

// The inputs of one output coordinate: `weights` of neighbours from `first` on. Outside: the extrapolation value.
struct Taps {
  int64_t first = 0;
  std::vector<double> weights;
  bool outside = false;
};

bool takes_right(const std::string& nearest, double ratio) {
  if (ratio == 1) return true;  // the coordinate is whole
  if (nearest == "floor" || nearest == "ceil") return nearest == "ceil";
  return nearest == "round_prefer_ceil" ? ratio >= 0.5 : ratio > 0.5;
}

// Neighbours on both sides and their weights, x lying `ratio` in (0, 1] after the one called base.
void spread(const Mode& mode, double scale, double base, double ratio, Taps& taps) {
  const double reach = mode.kind == "cubic" ? 2 : 1, shrink = mode.antialias ? std::min(scale, 1.0) : 1;
  const double start = std::floor(-reach / shrink) + 1;
  taps.first = static_cast<int64_t>(base + start);
  for (int64_t k = 0; k < static_cast<int64_t>(2 - 2 * start); ++k) {
    const double distance = (start + static_cast<double>(k) - ratio) * shrink;
    taps.weights.push_back(mode.kind == "cubic" ? cubic(distance, mode.a) : std::max(0.0, 1 - std::fabs(distance)));
  }
}

Taps taps_of(const Mode& mode, const Axis& axis, int64_t i) {
  const double x = std::clamp(source(mode.coordinates, axis, i), -1e12, 1e12), base = std::ceil(x) - 1, ratio = x - base;
  Taps taps;
  taps.outside = mode.coordinates == "tf_crop_and_resize" && (x < 0 || x > static_cast<double>(axis.in - 1));
  if (mode.kind == "nearest") {
    taps.first = static_cast<int64_t>(base) + takes_right(mode.nearest, ratio);
    taps.weights = {1};
    return taps;
  }
  spread(mode, axis.scale, base, ratio, taps);
  double sum = 0;
  for (size_t k = 0; k < taps.weights.size(); ++k) {
    const int64_t at = taps.first + static_cast<int64_t>(k);
    if (mode.exclude_outside && (at < 0 || at >= axis.in)) taps.weights[k] = 0;
    sum += taps.weights[k];
  }
  for (double& weight : taps.weights) weight = sum == 0 ? 0 : weight / sum;
  return taps;
}

// --- the operator --------------------------------------------------------------------------------------------------------

std::vector<DType> resize_types(const Node& node, const Types& inputs) {
  if (!is_float(*inputs[0]) && node.text("mode", "nearest") != "nearest") reject_type(node, 0, *inputs[0], "floats (all types where the mode is nearest)");
  return {*inputs[0]};
}

void infer_resize(Inference& n) {
  const Mode mode = mode_of(n.node, n.opset);
  Shape out;
  for (const Axis& axis : axes_of(n)) {
    if (axis.resized() && std::max(axis.in, axis.out) > kMostCoordinates) throw Unsupported(n.node.label() + ": a dimension of more than 2^24");
    if (axis.in == 0 && axis.out > 0) n.fail("an empty dimension cannot be resized");
    if (mode.antialias && 4 / std::min(axis.scale, 1.0) > kMostTaps) throw Unsupported(n.node.label() + ": antialiasing over more than 2^14 neighbours");
    out.push_back(axis.out);
  }
  n.outputs = {out};
}

// One dimension's pass: outer x in x inner to outer x out x inner. What each output coordinate reads is written down once:
// `width` places and weights. A place below zero: the extrapolation value.
struct Pass {
  int64_t outer, in, inner, out = 0, width = 1;
  std::vector<int64_t> places = {};
  std::vector<double> weights = {};

  void add(const Taps& taps) {
    width = static_cast<int64_t>(taps.weights.size());  // the same for all coordinates of a dimension
    for (int64_t k = 0; k < width; ++k) places.push_back(taps.outside ? -1 : std::clamp<int64_t>(taps.first + k, 0, in - 1));
    weights.insert(weights.end(), taps.weights.begin(), taps.weights.end());
    ++out;
  }
  // What threads share: rows of the innermost dimension, in which neighbours in memory are computed together.
  int64_t rows() const { return inner == 1 ? outer : outer * out; }
};

// Rows [begin, end) where each output is one input: nearest.
template <class T>
void copy_rows(const Pass& p, T extrapolation, int64_t begin, int64_t end, const T* x, T* y) {
  if (p.inner == 1) {
    for (int64_t o = begin; o < end; ++o) {
      const T* from = x + o * p.in;
      T* to = y + o * p.out;
      for (int64_t i = 0; i < p.out; ++i) to[i] = p.places[static_cast<size_t>(i)] < 0 ? extrapolation : from[p.places[static_cast<size_t>(i)]];
    }
    return;
  }
  for (int64_t row = begin; row < end; ++row) {
    const int64_t place = p.places[static_cast<size_t>(row % p.out)];
    if (place < 0) std::fill_n(y + row * p.inner, p.inner, extrapolation);
    else std::copy_n(x + (row / p.out * p.in + place) * p.inner, p.inner, y + row * p.inner);
  }
}

// The same where it is a sum along rows of which each is contiguous.
template <class T>
void sum_rows(const Pass& p, T extrapolation, int64_t begin, int64_t end, const T* x, T* y) {
  constexpr int64_t kBlock = 256;
  double sums[kBlock];
  for (int64_t row = begin; row < end; ++row) {
    const int64_t* places = p.places.data() + row % p.out * p.width;
    const double* weights = p.weights.data() + row % p.out * p.width;
    T* to = y + row * p.inner;
    if (places[0] < 0) {
      std::fill_n(to, p.inner, extrapolation);
      continue;
    }
    for (int64_t first = 0; first < p.inner; first += kBlock) {
      const int64_t count = std::min(kBlock, p.inner - first);
      std::fill_n(sums, count, 0.0);
      for (int64_t k = 0; k < p.width; ++k) {
        const T* from = x + (row / p.out * p.in + places[k]) * p.inner + first;
        const double weight = weights[k];
        for (int64_t j = 0; j < count; ++j) sums[j] += weight * static_cast<double>(from[j]);
      }
      for (int64_t j = 0; j < count; ++j) to[first + j] = static_cast<T>(sums[j]);
    }
  }
}

// Along the innermost dimension. kWidth: what is known of the width, 0: nothing.
template <int kWidth, class T>
void sum_along(const Pass& p, T extrapolation, int64_t begin, int64_t end, const T* x, T* y) {
  const int64_t width = kWidth ? kWidth : p.width;
  for (int64_t o = begin; o < end; ++o) {
    const T* from = x + o * p.in;
    for (int64_t i = 0; i < p.out; ++i) {
      const int64_t* places = p.places.data() + i * width;
      const double* weights = p.weights.data() + i * width;
      double sum = 0;
      for (int64_t k = 0; k < width && places[0] >= 0; ++k) sum += weights[k] * static_cast<double>(from[places[k]]);
      y[o * p.out + i] = places[0] < 0 ? extrapolation : static_cast<T>(sum);
    }
  }
}

template <class T>
void run_pass(const Pass& p, T extrapolation, int64_t begin, int64_t end, const T* x, T* y) {
  if constexpr (kIsReal<T>) {
    if (p.width > 1 && p.inner > 1) return sum_rows(p, extrapolation, begin, end, x, y);
    if (p.width == 2) return sum_along<2>(p, extrapolation, begin, end, x, y);
    if (p.width == 4) return sum_along<4>(p, extrapolation, begin, end, x, y);
    if (p.width > 1) return sum_along<0>(p, extrapolation, begin, end, x, y);
  }
  copy_rows(p, extrapolation, begin, end, x, y);
}

std::vector<Pass> passes_of(const Mode& mode, const std::vector<Axis>& axes, const Shape& x) {
  Shape sizes = x;
  std::vector<Pass> passes;
  for (size_t d = axes.size(); d-- > 0;) {
    if (!axes[d].resized()) continue;
    Pass pass{product(sizes, 0, d), axes[d].in, product(sizes, d + 1, sizes.size())};
    for (int64_t i = 0; i < axes[d].out; ++i) pass.add(taps_of(mode, axes[d], i));
    passes.push_back(std::move(pass));
    sizes[d] = axes[d].out;
  }
  if (passes.empty()) {
    passes.push_back({1, 1, element_count(x)});
    passes[0].add({0, {1}, false});
  }
  return passes;
}

Step build_resize(Build& b) {
  const Inference n{b.node, b.model.opset, b.inputs, {}};
  const auto passes = std::make_shared<const std::vector<Pass>>(passes_of(mode_of(b.node, n.opset), axes_of(n), b.shape(0)));
  const int64_t size = dtype_size(b.inputs[0]->dtype);
  std::vector<Slot> places{b.in(0)};
  for (size_t i = 0; i + 1 < passes->size(); ++i) {
    const Pass& pass = (*passes)[i];
    places.push_back(b.scratch(pass.outer * pass.inner * pass.out * size));
  }
  places.push_back(b.out());
  const float extrapolation = b.node.real("extrapolation_value", 0);
  return with_type(b.inputs[0]->dtype, [&]<class T>(T) -> Step {
    return {[=](const Run& run) {
              for (size_t i = 0; i < passes->size(); ++i) {
                const Pass& pass = (*passes)[i];
                run.pool->share(pass.rows(), [&](int64_t begin, int64_t end, int) {
                  run_pass(pass, converted<T>(extrapolation), begin, end, run.at<T>(places[i]), run.at<T>(places[i + 1]));
                });
              }
            },
            "plain loop", "no kernel: one pass for each resized dimension, in double precision"};
  });
}

constexpr Operator kOperators[] = {
    {"Resize", 1, 4,
     " antialias axes coordinate_transformation_mode cubic_coeff_a exclude_outside extrapolation_value "
     "keep_aspect_ratio_policy mode nearest_mode scales ",
     resize_types, infer_resize, build_resize},
};

}  // namespace

std::span<const Operator> resize_operators() { return kOperators; }

}  // namespace gossamer
