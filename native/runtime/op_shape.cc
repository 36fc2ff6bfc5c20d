// Operators that give the same elements another shape (no step runs), and those that make values out of shapes.
#include <cmath>
#include <cstring>

#include "runtime/errors.h"
#include "runtime/op.h"
#include "runtime/types.h"

namespace gossamer {
namespace {

std::vector<DType> shape_argument_types(const Node& node, const Types& inputs) {
  if (inputs.size() > 1 && inputs[1] && inputs[1] != DType::int64) reject_type(node, 1, *inputs[1], "int64");
  return {*inputs[0]};
}

void infer_identity(Inference& n) { n.outputs = {n.shape(0)}; }

void infer_dropout(Inference& n) {
  if (n.has(2)) {
    if (!n.inputs[2]->known || *n.inputs[2]->known != std::byte{0}) throw Unsupported(n.node.label() + ": training_mode");
  }
  infer_identity(n);
}

void infer_flatten(Inference& n) {
  const Shape& x = n.shape(0);
  int64_t axis = n.node.integer("axis", 1);
  if (axis < 0) axis += static_cast<int64_t>(x.size());
  if (axis < 0 || axis > static_cast<int64_t>(x.size())) n.fail("axis " + std::to_string(axis) + " is out of range");
  const auto at = static_cast<size_t>(axis);
  n.outputs = {{product(x, 0, at), product(x, at, x.size())}};
}

void infer_reshape(Inference& n) {
  const Shape& x = n.shape(0);
  const bool zero_is_zero = n.node.integer("allowzero", 0) != 0;
  Shape out = n.integers(1);
  int64_t free = -1, known = 1;
  for (size_t d = 0; d < out.size(); ++d) {
    if (out[d] == 0 && !zero_is_zero) {
      if (d >= x.size()) n.fail("dimension " + std::to_string(d) + " is copied from the input, which has fewer");
      out[d] = x[d];
    }
    if (out[d] == -1) {
      if (free >= 0) n.fail("two dimensions of the new shape are -1");
      free = static_cast<int64_t>(d);
    } else {
      known = element_count({known, out[d]});
    }
  }
  const int64_t count = element_count(x);
  if (free >= 0) out[static_cast<size_t>(free)] = known ? count / known : 0;
  if (element_count(out) != count) n.fail(shape_text(x) + " cannot become " + shape_text(n.integers(1)));
  n.outputs = {out};
}

std::vector<int64_t> axes_of(const Inference& n) { return n.has(1) ? n.integers(1) : n.node.integers("axes"); }

void infer_squeeze(Inference& n) {
  const Shape& x = n.shape(0);
  std::vector<bool> gone(x.size(), false);
  const std::vector<int64_t> axes = axes_of(n);
  for (const int64_t axis : axes) {
    const auto d = static_cast<size_t>(wrap_axis(axis, static_cast<int64_t>(x.size()), n.node));
    if (x[d] != 1) n.fail("dimension " + std::to_string(d) + " of " + shape_text(x) + " is not 1");
    gone[d] = true;
  }
  Shape out;
  for (size_t d = 0; d < x.size(); ++d) {
    if (axes.empty() ? x[d] != 1 : !gone[d]) out.push_back(x[d]);
  }
  n.outputs = {out};
}

void infer_unsqueeze(Inference& n) {
  const Shape& x = n.shape(0);
  const std::vector<int64_t> axes = axes_of(n);
  const int64_t rank = static_cast<int64_t>(x.size() + axes.size());
  std::vector<bool> added(static_cast<size_t>(rank), false);
  for (const int64_t axis : axes) added[static_cast<size_t>(wrap_axis(axis, rank, n.node))] = true;
  Shape out;
  size_t next = 0;
  for (const bool add : added) {
    if (!add && next == x.size()) n.fail("the axes are not distinct");
    out.push_back(add ? 1 : x[next++]);
  }
  n.outputs = {out};
}

// --- values out of shapes; the planner knows them before it runs anything ---------------------------------------------

int64_t clamp_axis(int64_t axis, int64_t rank) {
  if (axis < 0) axis += rank;
  return axis < 0 ? 0 : axis > rank ? rank : axis;
}

void infer_shape(Inference& n) {
  const int64_t rank = static_cast<int64_t>(n.shape(0).size());
  const int64_t begin = clamp_axis(n.node.integer("start", 0), rank), end = clamp_axis(n.node.integer("end", rank), rank);
  n.outputs = {{end > begin ? end - begin : 0}};
}

Step build_shape(Build& b) {
  const int64_t rank = static_cast<int64_t>(b.shape(0).size()), begin = clamp_axis(b.node.integer("start", 0), rank);
  const int64_t count = b.out_shape()[0];
  const Shape sizes(b.shape(0).begin() + begin, b.shape(0).begin() + begin + count);
  return {[=, y = b.out()](const Run& run) {
            if (!sizes.empty()) std::memcpy(run.at<int64_t>(y), sizes.data(), sizes.size() * sizeof(int64_t));
          },
          "plain loop", ""};
}

void infer_size(Inference& n) { n.outputs = {Shape{}}; }

Step build_size(Build& b) {
  const int64_t count = element_count(b.shape(0));
  return {[=, y = b.out()](const Run& run) { *run.at<int64_t>(y) = count; }, "plain loop", ""};
}

const Tensor* fill_value(const Node& node) {
  const Attribute* value = node.find("value");
  if (!value) return nullptr;
  const Tensor* tensor = std::get_if<Tensor>(value);
  if (!tensor || element_count(tensor->shape) != 1) throw ModelError(node.label() + ": 'value' is not one element");
  return tensor;
}

std::vector<DType> constant_of_shape_types(const Node& node, const Types& inputs) {
  if (inputs[0] != DType::int64) reject_type(node, 0, *inputs[0], "int64");
  const Tensor* value = fill_value(node);
  return {value ? value->dtype : DType::float32};
}

void infer_constant_of_shape(Inference& n) { n.outputs = {n.integers(0)}; }

Step build_constant_of_shape(Build& b) {
  const Tensor* value = fill_value(b.node);
  const int64_t count = element_count(b.out_shape()), size = dtype_size(b.outputs[0]->dtype);
  const Tensor one = value ? *value : make_tensor(DType::float32, {});
  return {[=, y = b.out()](const Run& run) {
            for (int64_t i = 0; i < count; ++i) {
              std::memcpy(run.at<std::byte>(y) + i * size, one.data.get(), static_cast<size_t>(size));
            }
          },
          "plain loop", ""};
}

std::vector<DType> range_types(const Node& node, const Types& inputs) {
  const DType type = *inputs[0];
  if (type == DType::boolean) reject_type(node, 0, type, "numbers");
  for (size_t i = 1; i < 3; ++i) {
    if (inputs[i] != type) reject_type(node, i, *inputs[i], std::string(dtype_name(type)) + ", as the first input");
  }
  return {type};
}

double scalar_of(const Inference& n, size_t i) {
  const ValueInfo& info = *n.inputs[i];
  if (!info.known) throw NeedsContent(n.node.label() + ": how many numbers it gives depends on what the network is given", n.node.inputs[i]);
  if (element_count(info.shape) != 1) n.fail("start, limit and delta are scalars");
  return with_type(info.dtype, [&]<class T>(T) { return static_cast<double>(*reinterpret_cast<const T*>(info.known)); });
}

void infer_range(Inference& n) {
  const double delta = scalar_of(n, 2), count = std::ceil((scalar_of(n, 1) - scalar_of(n, 0)) / delta);
  if (delta == 0 || count != count) n.fail("delta is zero, or not a number is among its inputs");
  if (count > static_cast<double>(kMaxElements)) throw ShapeError("a range of more than 2^34 elements");
  n.outputs = {{count <= 0 ? 0 : static_cast<int64_t>(count)}};
}

Step build_range(Build& b) {
  const int64_t count = b.out_shape()[0];
  return with_type(b.inputs[0]->dtype, [&]<class T>(T) -> Step {
    using W = std::conditional_t<kIsReal<T>, double, uint64_t>;  // integers wrap around
    return {[=, start = b.in(0), delta = b.in(2), y = b.out()](const Run& run) {
              const auto first = static_cast<W>(*run.at<T>(start)), step = static_cast<W>(*run.at<T>(delta));
              for (int64_t i = 0; i < count; ++i) run.at<T>(y)[i] = static_cast<T>(first + static_cast<W>(i) * step);
            },
            "plain loop", ""};
  });
}

constexpr Operator kOperators[] = {
    {"Identity", 1, 1, "", first_type, infer_identity, nullptr},
    {"Dropout", 1, 3, " ratio seed ", first_type, infer_dropout, nullptr},
    {"Flatten", 1, 1, " axis ", first_type, infer_flatten, nullptr},
    {"Reshape", 2, 2, " allowzero ", shape_argument_types, infer_reshape, nullptr},
    {"Squeeze", 1, 2, " axes ", shape_argument_types, infer_squeeze, nullptr},
    {"Unsqueeze", 1, 2, " axes ", shape_argument_types, infer_unsqueeze, nullptr},
    {"Shape", 1, 1, " end start ", index_types, infer_shape, build_shape},
    {"Size", 1, 1, "", index_types, infer_size, build_size},
    {"ConstantOfShape", 1, 1, " value ", constant_of_shape_types, infer_constant_of_shape, build_constant_of_shape},
    {"Range", 3, 3, "", range_types, infer_range, build_range},
};

}  // namespace

std::span<const Operator> shape_operators() { return kOperators; }

}  // namespace gossamer
