// Softmax, LogSoftmax, LayerNormalization, reductions, global pooling and ArgMax.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/rows/rows.h"
#include "runtime/errors.h"
#include "runtime/op.h"
#include "runtime/reduced.h"
#include "runtime/strided.h"
#include "runtime/types.h"

namespace gossamer {
namespace {

// --- softmax -------------------------------------------------------------------------------------------------------------

void infer_same(Inference& n) { n.outputs = {n.shape(0)}; }

void infer_softmax(Inference& n) {
  wrap_axis(n.node.integer("axis", n.opset >= 13 ? -1 : 1), static_cast<int64_t>(n.shape(0).size()), n.node);
  infer_same(n);
}

Step build_softmax(Build& b) {
  const Shape& x = b.shape(0);
  const bool one_axis = b.model.opset >= 13;  // before, all dimensions from the axis on were one
  const auto axis = static_cast<size_t>(
      wrap_axis(b.node.integer("axis", one_axis ? -1 : 1), static_cast<int64_t>(x.size()), b.node));
  SoftmaxArgs fixed;
  fixed.outer = product(x, 0, axis);
  fixed.n = one_axis ? x[axis] : product(x, axis, x.size());
  fixed.inner = one_axis ? product(x, axis + 1, x.size()) : 1;
  fixed.logarithm = b.node.op == "LogSoftmax";
  b.in_place.push_back(b.node.inputs[0]);
  const auto& kernel = fastest(kSoftmaxKernels, b.isa);
  return {[=, in = b.in(0), out = b.out(), run_all = kernel.run](const Run& run) {
            run.pool->share(fixed.outer, [&](int64_t begin, int64_t end, int) {
              SoftmaxArgs s = fixed;
              s.outer = end - begin;
              s.x = run.at<float>(in) + begin * s.n * s.inner;
              s.y = run.at<float>(out) + begin * s.n * s.inner;
              run_all(s);
            });
          },
          kernel.name, ""};
}

// --- layer normalization -----------------------------------------------------------------------------------------------

size_t norm_axis(const Node& node, const Shape& x) {
  return static_cast<size_t>(wrap_axis(node.integer("axis", -1), static_cast<int64_t>(x.size()), node));
}

void infer_layer_norm(Inference& n) {
  const Shape& x = n.shape(0);
  const size_t axis = norm_axis(n.node, x);
  const int64_t count = product(x, axis, x.size());
  for (size_t i = 1; i < 3; ++i) {
    if (n.has(i) && element_count(n.shape(i)) != count) n.fail("a parameter has shape " + shape_text(n.shape(i)));
  }
  Shape statistics = x;
  std::fill(statistics.begin() + static_cast<int64_t>(axis), statistics.end(), 1);
  n.outputs = {x, statistics, statistics};
}

// The outputs Mean and InvStdDev, which training reads.
void write_statistics(const LayerNormArgs& a, float* means, float* inverses) {
  for (int64_t row = 0; row < a.outer; ++row) {
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < a.n; ++i) sum += a.x[row * a.n + i];
    const double mean = sum / static_cast<double>(a.n);
    for (int64_t i = 0; i < a.n; ++i) squares += (a.x[row * a.n + i] - mean) * (a.x[row * a.n + i] - mean);
    if (means) means[row] = static_cast<float>(mean);
    if (inverses) inverses[row] = static_cast<float>(1 / std::sqrt(squares / static_cast<double>(a.n) + a.epsilon));
  }
}

Step with_statistics(Build& b, Step step, const LayerNormArgs& fixed) {
  const auto slot = [&](size_t i) { return i < b.node.outputs.size() && b.node.outputs[i] != kAbsent ? b.slot_of(b.node.outputs[i]) : kNoSlot; };
  if (slot(1) == kNoSlot && slot(2) == kNoSlot) return step;
  b.in_place.clear();
  step.run = [=, norm = std::move(step.run), x = b.in(0), means = slot(1), inverses = slot(2)](const Run& run) {
    LayerNormArgs a = fixed;
    a.x = run.at<float>(x);
    write_statistics(a, run.at<float>(means), run.at<float>(inverses));
    norm(run);
  };
  return step;
}

Step build_layer_norm(Build& b) {
  const Shape& x = b.shape(0);
  const size_t axis = norm_axis(b.node, x);
  LayerNormArgs fixed;
  fixed.outer = product(x, 0, axis);
  fixed.n = product(x, axis, x.size());
  fixed.epsilon = b.node.real("epsilon", 1e-5f);
  b.in_place.push_back(b.node.inputs[0]);
  const auto& kernel = fastest(kLayerNormKernels, b.isa);
  Step step{[=, in = b.in(0), scale = b.in(1), shift = b.in(2), out = b.out(), run_all = kernel.run](const Run& run) {
            run.pool->share(fixed.outer, [&](int64_t begin, int64_t end, int) {
              LayerNormArgs a = fixed;
              a.outer = end - begin;
              a.x = run.at<float>(in) + begin * a.n;
              a.y = run.at<float>(out) + begin * a.n;
              a.scale = run.at<float>(scale);
              a.shift = run.at<float>(shift);
              run_all(a);
            });
          },
          kernel.name, ""};
  return with_statistics(b, std::move(step), fixed);
}

// --- reductions ----------------------------------------------------------------------------------------------------------

// A reduction as passes of the kernel: the first over the elements, `then` over what it left; `finish`: of each result.
struct ReductionRow {
  const char* op;
  Reduction first, then;
  float (*finish)(float) = nullptr;
};

constexpr ReductionRow kReductions[] = {
    {"ReduceSum", Reduction::sum, Reduction::sum}, {"ReduceMean", Reduction::mean, Reduction::mean},
    {"ReduceMax", Reduction::max, Reduction::max}, {"ReduceMin", Reduction::min, Reduction::min},
    {"GlobalMaxPool", Reduction::max, Reduction::max}, {"GlobalAveragePool", Reduction::mean, Reduction::mean},
    {"ReduceL1", Reduction::sum_of_absolutes, Reduction::sum}, {"ReduceSumSquare", Reduction::sum_of_squares, Reduction::sum},
    {"ReduceL2", Reduction::sum_of_squares, Reduction::sum, [](float x) { return std::sqrt(x); }},
    {"ReduceLogSum", Reduction::sum, Reduction::sum, [](float x) { return std::log(x); }},
};

// Null where no kernel has it.
const ReductionRow* reduction_of(const Node& node) {
  const auto row = std::find_if(std::begin(kReductions), std::end(kReductions), [&](const ReductionRow& r) { return node.op == r.op; });
  return row == std::end(kReductions) ? nullptr : row;
}

// What ONNX has for the reduction of no elements.
float of_nothing(Reduction op) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  if (op == Reduction::max || op == Reduction::min) return op == Reduction::max ? -infinity : infinity;
  return op == Reduction::mean ? std::numeric_limits<float>::quiet_NaN() : 0.0f;
}

// Which dimensions are reduced. `axes`: those given, as attribute or input.
std::vector<bool> reduced(const Node& node, const Shape& x, const std::vector<int64_t>& axes) {
  std::vector<bool> chosen(x.size(), false);
  if (node.op.starts_with("Global")) {
    for (size_t d = 2; d < x.size(); ++d) chosen[d] = true;
    return chosen;
  }
  if (axes.empty() && node.integer("noop_with_empty_axes", 0) == 0) return std::vector<bool>(x.size(), true);
  for (const int64_t axis : axes) chosen[static_cast<size_t>(wrap_axis(axis, static_cast<int64_t>(x.size()), node))] = true;
  return chosen;
}

void infer_reduce(Inference& n) {
  const std::vector<int64_t> axes = n.has(1) ? n.integers(1) : n.node.integers("axes");
  const Shape& x = n.shape(0);
  const std::vector<bool> chosen = reduced(n.node, x, axes);
  const bool keep = n.node.op.starts_with("Global") || n.node.integer("keepdims", 1) != 0;
  Shape out;
  for (size_t d = 0; d < x.size(); ++d) {
    if (!chosen[d]) out.push_back(x[d]);
    else if (keep) out.push_back(1);
  }
  n.outputs = {out};
}

std::vector<int64_t> given_axes(const Build& b) {
  if (!b.has(1)) return b.node.integers("axes");
  const auto* axes = reinterpret_cast<const int64_t*>(b.inputs[1]->known);
  return {axes, axes + element_count(b.shape(1))};
}

}  // namespace

std::vector<bool> reduced_dimensions(const Build& b) { return reduced(b.node, b.shape(0), given_axes(b)); }

namespace {

// One pass over neighbouring dimensions: outer x n x inner.
struct Pass {
  int64_t outer = 1, n = 1, inner = 1;
};

// Runs of neighbouring reduced dimensions, from the last to the first, each a pass over what the one before left.
std::vector<Pass> passes_of(const Shape& x, const std::vector<bool>& chosen) {
  Shape sizes = x;
  std::vector<Pass> passes;
  for (size_t end = x.size(); end > 0; --end) {
    if (!chosen[end - 1]) continue;
    size_t begin = end - 1;
    while (begin > 0 && chosen[begin - 1]) --begin;
    passes.push_back({product(sizes, 0, begin), product(sizes, begin, end), product(sizes, end, sizes.size())});
    for (size_t d = begin; d < end; ++d) sizes[d] = 1;
    end = begin + 1;
  }
  if (passes.empty()) passes.push_back({element_count(x), 1, 1});
  return passes;
}

Step build_reduce(Build& b) {
  const std::vector<Pass> passes = passes_of(b.shape(0), reduced(b.node, b.shape(0), given_axes(b)));
  std::vector<Slot> places{b.in(0)};
  for (size_t i = 0; i + 1 < passes.size(); ++i) places.push_back(b.scratch(passes[i].outer * passes[i].inner * 4));
  places.push_back(b.out());
  const auto& kernel = fastest(kReduceKernels, b.isa);
  const ReductionRow& row = *reduction_of(b.node);
  return {[=, count = element_count(b.out_shape()), run_all = kernel.run](const Run& run) {
            for (size_t i = 0; i < passes.size(); ++i) {
              const Pass pass = passes[i];
              const Reduction op = i == 0 ? row.first : row.then;
              if (pass.n == 0) {
                std::fill_n(run.at<float>(places[i + 1]), pass.outer * pass.inner, of_nothing(op));
                continue;
              }
              run_all({op, pass.outer, pass.n, pass.inner, run.at<float>(places[i]), run.at<float>(places[i + 1])});
            }
            float* results = run.at<float>(places.back());
            for (int64_t i = 0; i < count && row.finish; ++i) results[i] = row.finish(results[i]);
          },
          kernel.name, passes.size() > 1 ? "the reduced dimensions are apart: one pass for each group of neighbours" : ""};
}

std::vector<DType> reduce_types(const Node& node, const Types& inputs) {
  const bool extreme = node.op == "ReduceMax" || node.op == "ReduceMin";
  if (inputs[0] == DType::boolean && !extreme) reject_type(node, 0, *inputs[0], "numbers");
  if (inputs.size() > 1 && inputs[1] && inputs[1] != DType::int64) reject_type(node, 1, *inputs[1], "int64");
  return {*inputs[0]};
}

// float32 through the kernels, where they have the reduction.
Step build_any_reduce(Build& b) {
  return reduction_of(b.node) && b.inputs[0]->dtype == DType::float32 ? build_reduce(b) : build_typed_reduce(b);
}

// --- ArgMax --------------------------------------------------------------------------------------------------------------

void infer_arg_max(Inference& n) {
  Shape out = n.shape(0);
  const auto axis = static_cast<size_t>(wrap_axis(n.node.integer("axis", 0), static_cast<int64_t>(out.size()), n.node));
  if (out[axis] == 0) n.fail("the dimension is empty");
  if (n.node.integer("keepdims", 1)) out[axis] = 1;
  else out.erase(out.begin() + static_cast<int64_t>(axis));
  n.outputs = {out};
}

std::vector<DType> arg_max_types(const Node& node, const Types& inputs) {
  if (inputs[0] == DType::boolean) reject_type(node, 0, *inputs[0], "numbers");
  return {DType::int64};
}

template <class T>
Step arg_max_step(Build& b) {
  const Shape& x = b.shape(0);
  const auto axis = static_cast<size_t>(wrap_axis(b.node.integer("axis", 0), static_cast<int64_t>(x.size()), b.node));
  const int64_t outer = product(x, 0, axis), n = x[axis], inner = product(x, axis + 1, x.size());
  const bool last = b.node.integer("select_last_index", 0) != 0, least = b.node.op == "ArgMin";
  return {[=, in = b.in(0), out = b.out()](const Run& run) {
            for (int64_t at = 0; at < outer * inner; ++at) {
              const T* values = run.at<T>(in) + at / inner * n * inner + at % inner;
              int64_t best = 0;
              for (int64_t i = 1; i < n; ++i) {
                const T value = values[i * inner], top = values[best * inner];
                const bool better = least ? value < top : value > top;
                if (better || (last && value == top) || (value != value && top == top)) best = i;
              }
              run.at<int64_t>(out)[at] = best;
            }
          },
          "plain loop", ""};
}

Step build_arg_max(Build& b) {
  return with_type(b.inputs[0]->dtype, [&]<class T>(T) { return arg_max_step<T>(b); });
}

constexpr Operator reduce(const char* name) {
  return {name, 1, 2, " axes keepdims noop_with_empty_axes ", reduce_types, infer_reduce, build_any_reduce};
}

constexpr Operator kOperators[] = {
    {"Softmax", 1, 1, " axis ", float_types, infer_softmax, build_softmax},
    {"LogSoftmax", 1, 1, " axis ", float_types, infer_softmax, build_softmax},
    {"LayerNormalization", 2, 3, " axis epsilon stash_type ", float_types, infer_layer_norm, build_layer_norm},
    reduce("ReduceMean"), reduce("ReduceSum"), reduce("ReduceMax"), reduce("ReduceMin"),
    reduce("ReduceProd"), reduce("ReduceL1"), reduce("ReduceL2"), reduce("ReduceSumSquare"), reduce("ReduceLogSum"),
    reduce("ReduceLogSumExp"),
    {"GlobalAveragePool", 1, 1, "", float_types, infer_reduce, build_reduce},
    {"GlobalMaxPool", 1, 1, "", float_types, infer_reduce, build_reduce},
    {"ArgMax", 1, 1, " axis keepdims select_last_index ", arg_max_types, infer_arg_max, build_arg_max},
    {"ArgMin", 1, 1, " axis keepdims select_last_index ", arg_max_types, infer_arg_max, build_arg_max},
};

}  // namespace

std::span<const Operator> row_operators() { return kOperators; }

}  // namespace gossamer
