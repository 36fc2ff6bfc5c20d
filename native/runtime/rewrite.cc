#include "runtime/rewrite.h"

#include <algorithm>

#include "runtime/errors.h"

namespace gossamer {
namespace {

constexpr const char* kRewritten[] = {"CastLike", "Mean", "MeanVarianceNormalization", "Scatter", "Sum", "Upsample"};

// The nodes that take the place of one.
class Rewriting {
 public:
  Rewriting(Model& model, const Node& node) : model_(model), node_(node) {}

  // A new node's output, a new value.
  int add(const std::string& op, std::vector<int> inputs, std::map<std::string, Attribute, std::less<>> attributes = {}) {
    const int value = static_cast<int>(model_.values.size());
    model_.values.push_back({model_.values[static_cast<size_t>(node_.outputs[0])].name + "." + op, DType::float32});
    nodes.push_back({op, node_.name, std::move(inputs), {value}, std::move(attributes), 0});
    return value;
  }

  int add_scalar(float number) {
    Tensor tensor = make_tensor(DType::float32, {});
    *tensor.as<float>() = number;
    const int value = static_cast<int>(model_.values.size());
    model_.values.push_back({"", DType::float32});
    model_.constants[value].dense = std::move(tensor);
    return value;
  }

  // Makes the last node write what the node in question wrote.
  std::vector<Node> done() {
    nodes.back().outputs[0] = node_.outputs[0];
    return std::move(nodes);
  }

  std::vector<Node> nodes;

 private:
  Model& model_;
  const Node& node_;
};

DType type_of(const Model& model, int value) { return model.values[static_cast<size_t>(value)].dtype; }

std::vector<Node> in_pairs(Model& model, const Node& node) {
  if (node.inputs.empty() || std::count(node.inputs.begin(), node.inputs.end(), kAbsent)) throw ModelError(node.label() + ": an input is absent");
  Rewriting to(model, node);
  const std::string pair = node.op == "Sum" || node.op == "Mean" ? "Add" : node.op;
  int value = node.inputs[0];
  for (size_t i = 1; i < node.inputs.size(); ++i) value = to.add(pair, {value, node.inputs[i]});
  if (node.op == "Mean") {
    if (type_of(model, node.inputs[0]) != DType::float32) reject_type(node, 0, type_of(model, node.inputs[0]), "float32");
    value = to.add("Mul", {value, to.add_scalar(1 / static_cast<float>(node.inputs.size()))});
  }
  if (to.nodes.empty()) to.add("Identity", {value});
  return to.done();
}

std::vector<Node> standardized(Model& model, const Node& node) {
  if (node.inputs.size() != 1) throw ModelError(node.label() + ": it has one input");
  std::vector<int64_t> axes = node.integers("axes");
  if (!node.find("axes")) axes = {0, 2, 3};
  const Tensor numbers = [&] {
    Tensor t = make_tensor(DType::int64, {static_cast<int64_t>(axes.size())});
    std::copy(axes.begin(), axes.end(), t.as<int64_t>());
    return t;
  }();
  const int along = static_cast<int>(model.values.size());
  model.values.push_back({"", DType::int64});
  model.constants[along].dense = numbers;
  Rewriting to(model, node);
  const int distance = to.add("Sub", {node.inputs[0], to.add("ReduceMean", {node.inputs[0], along})});
  const int variance = to.add("ReduceMean", {to.add("Mul", {distance, distance}), along});
  to.add("Div", {distance, to.add("Add", {to.add("Sqrt", {variance}), to.add_scalar(1e-9f)})});
  return to.done();
}

std::vector<Node> renamed(Node node, const char* op) {
  node.op = op;
  return {std::move(node)};
}

// Upsample is Resize with the coordinates of its time: y(i) = x(i / scale), rounded down where the mode is nearest.
std::vector<Node> resized(Node node) {
  if (node.inputs.size() == 1 && !node.find("scales")) throw ModelError(node.label() + ": it has no scales");
  const std::string mode = node.text("mode", "nearest");
  node.attributes["coordinate_transformation_mode"] = std::string("asymmetric");
  node.attributes["nearest_mode"] = std::string("floor");
  if (node.inputs.size() > 1) node.inputs = {node.inputs[0], kAbsent, node.inputs[1]};
  return renamed(std::move(node), "Resize");
}

// To the type of the second input, which is known while loading.
std::vector<Node> cast_like(const Model& model, Node node) {
  if (node.inputs.size() != 2 || !node.has_input(0) || !node.has_input(1)) throw ModelError(node.label() + ": it has two inputs");
  int64_t number = 1;
  while (dtype_from_onnx(number) != type_of(model, node.inputs[1])) ++number;
  node.attributes["to"] = number;
  node.inputs.pop_back();
  return renamed(std::move(node), "Cast");
}

bool is_other_float(DType type) { return type == DType::float16 || type == DType::float64; }

bool is_whole(DType type) { return type == DType::int32 || type == DType::int64 || type == DType::uint32 || type == DType::uint64; }

// --- float16 and float64 where only float32 is computed -----------------------------------------------------------------

Attribute cast_target(DType type) { return int64_t{type == DType::float32 ? 1 : type == DType::float16 ? 10 : 11}; }

int add_value(Model& model, const std::string& name, DType type) {
  model.values.push_back({name, type});
  return static_cast<int>(model.values.size()) - 1;
}

// Reads float32 from casts, which it returns; `type`: what was cast.
std::vector<Node> cast_inputs(Model& model, Node& node, DType& type) {
  std::vector<Node> nodes;
  for (int& value : node.inputs) {
    if (value == kAbsent || !is_other_float(type_of(model, value))) continue;
    type = type_of(model, value);
    const int cast = add_value(model, "", DType::float32);
    nodes.push_back({"Cast", node.name, {value}, {cast}, {{"to", cast_target(DType::float32)}}, 0});
    value = cast;
  }
  return nodes;
}

std::vector<Node> through_float32(Model& model, Node node) {
  DType type = DType::float32;
  std::vector<Node> nodes = cast_inputs(model, node, type), after;
  for (int& value : node.outputs) {
    if (value == kAbsent) continue;
    const int cast = add_value(model, "", DType::float32);
    after.push_back({"Cast", node.name, {cast}, {value}, {{"to", cast_target(type)}}, 0});
    value = cast;
  }
  nodes.push_back(std::move(node));
  nodes.insert(nodes.end(), after.begin(), after.end());
  return nodes;
}

// Functions of elements, reductions and products of float16, which have kernels for float32 only. Rounding the result of float32 is what
// float16 is computed by anyway.
bool is_faster_in_float32(const Model& model, const Node& node, const Operator& op) {
  if (op.fusion != Fusion::elements && !node.op.starts_with("Reduce") && node.op != "Einsum") return false;
  const auto is_half = [&](int value) { return type_of(model, value) == DType::float16; };
  return std::all_of(node.inputs.begin(), node.inputs.end(), [&](int v) { return v == kAbsent || is_half(v) || type_of(model, v) == DType::int64; }) &&
         node.has_input(0) && is_half(node.inputs[0]) && !(node.op == "Pow" && !is_half(node.inputs[1]));
}

}  // namespace

std::span<const char* const> rewritten_operators() { return kRewritten; }

std::vector<Node> rewritten(Model& model, Node node) {
  if (node.outputs.empty()) throw ModelError(node.label() + ": it has no output");
  if (node.outputs[0] == kAbsent) node.outputs[0] = add_value(model, "", DType::float32);  // a step has a first output
  const bool extreme = node.op == "Max" || node.op == "Min";
  if (node.op == "Sum" || node.op == "Mean" || (extreme && node.inputs.size() != 2)) return in_pairs(model, node);
  if (node.op == "MeanVarianceNormalization") return standardized(model, node);
  if (node.op == "CastLike") return cast_like(model, std::move(node));
  if (node.op == "MatMul" && node.inputs.size() == 2 && node.has_input(0) && is_whole(type_of(model, node.inputs[0]))) {
    return renamed(std::move(node), kWholeMatMul);
  }
  if (node.op == "Scatter") return renamed(std::move(node), "ScatterElements");
  if (node.op == "Upsample") return resized(std::move(node));
  if (node.op == "QLinearMatMul") {  // its scales may be float16
    DType type = DType::float32;
    std::vector<Node> nodes = cast_inputs(model, node, type);
    nodes.push_back(std::move(node));
    return nodes;
  }
  const Operator* op = find_operator(node.op);
  const bool other = std::any_of(node.inputs.begin(), node.inputs.end(), [&](int v) { return v != kAbsent && is_other_float(type_of(model, v)); });
  if (op && other && (op->types == float_types || is_faster_in_float32(model, node, *op))) return through_float32(model, std::move(node));
  return {std::move(node)};
}

}  // namespace gossamer
