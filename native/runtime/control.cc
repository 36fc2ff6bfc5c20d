#include "runtime/control.h"

#include <algorithm>

#include "runtime/errors.h"

namespace gossamer {
namespace {

Subgraph& body_of(const Node& node, const char* name, size_t inputs, size_t outputs) {
  Subgraph* body = node.subgraph(name);
  if (!body) throw ModelError(node.label() + ": the attribute '" + name + "' is missing");
  if (body->inputs.size() != inputs || body->outputs.size() != outputs) {
    throw ModelError(node.label() + ": its " + name + " has " + std::to_string(body->inputs.size()) + " inputs and " +
                     std::to_string(body->outputs.size()) + " outputs, where " + std::to_string(inputs) + " and " +
                     std::to_string(outputs) + " are due");
  }
  return *body;
}

DType& type_of(Model& model, int value) { return model.values[static_cast<size_t>(value)].dtype; }

void prepare_if(Model& model, const Node& node, const std::function<void(std::vector<Node>&)>& prepare) {
  if (node.inputs.size() != 1 + node.captured || !node.has_input(0)) throw ModelError(node.label() + ": it needs one condition");
  if (type_of(model, node.inputs[0]) != DType::boolean) throw ModelError(node.label() + ": the condition is not a bool");
  Subgraph* branches[] = {&body_of(node, "then_branch", 0, node.outputs.size()), &body_of(node, "else_branch", 0, node.outputs.size())};
  for (Subgraph* branch : branches) prepare(branch->nodes);
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    const DType type = type_of(model, branches[0]->outputs[i]);
    if (type_of(model, branches[1]->outputs[i]) != type) throw Unsupported(node.label() + ": the branches give different types");
    if (node.outputs[i] != kAbsent) type_of(model, node.outputs[i]) = type;
  }
}

void prepare_loop(Model& model, const Node& node, const std::function<void(std::vector<Node>&)>& prepare) {
  const size_t given = node.inputs.size() - node.captured, states = given < 2 ? 0 : given - 2;
  if (node.outputs.size() < states) throw ModelError(node.label() + ": it has fewer outputs than loop-carried values");
  Subgraph& body = body_of(node, "body", 2 + states, 1 + node.outputs.size());
  type_of(model, body.inputs[0]) = DType::int64;
  type_of(model, body.inputs[1]) = DType::boolean;
  for (size_t i = 0; i < states; ++i) {
    if (!node.has_input(2 + i)) throw ModelError(node.label() + ": a loop-carried value is absent");
    type_of(model, body.inputs[2 + i]) = type_of(model, node.inputs[2 + i]);
  }
  prepare(body.nodes);
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    const DType type = type_of(model, body.outputs[1 + i]);
    if (i < states && type != type_of(model, node.inputs[2 + i])) throw ModelError(node.label() + ": a loop-carried value changes its type");
    if (node.outputs[i] != kAbsent) type_of(model, node.outputs[i]) = type;
  }
}

void prepare_scan(Model& model, const Node& node, const std::function<void(std::vector<Node>&)>& prepare) {
  if (model.opset < 9) throw Unsupported(node.label() + ": Scan of operator versions before 9");
  const ScanForm form = scan_form(node);
  Subgraph& body = body_of(node, "body", form.states + form.inputs, node.outputs.size());
  for (size_t i = 0; i < body.inputs.size(); ++i) {
    if (!node.has_input(i)) throw ModelError(node.label() + ": input " + std::to_string(i) + " is absent");
    type_of(model, body.inputs[i]) = type_of(model, node.inputs[i]);
  }
  prepare(body.nodes);
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    if (node.outputs[i] != kAbsent) type_of(model, node.outputs[i]) = type_of(model, body.outputs[i]);
  }
}

std::vector<int64_t> sized(const Node& node, const char* name, size_t count) {
  std::vector<int64_t> numbers = node.integers(name);
  if (!numbers.empty() && numbers.size() != count) throw ModelError(node.label() + ": '" + name + "' needs " + std::to_string(count) + " numbers");
  numbers.resize(count, 0);
  return numbers;
}

std::vector<bool> flags(const std::vector<int64_t>& numbers) {
  std::vector<bool> result;
  for (const int64_t number : numbers) result.push_back(number != 0);
  return result;
}

}  // namespace

bool is_control(const Node& node) {
  return std::any_of(std::begin(kControlOperators), std::end(kControlOperators), [&](const char* op) { return node.op == op; });
}

void prepare_control(Model& model, const Node& node, const std::function<void(std::vector<Node>&)>& prepare) {
  if (node.op == "If") return prepare_if(model, node, prepare);
  if (node.op == "Loop") return prepare_loop(model, node, prepare);
  prepare_scan(model, node, prepare);
}

ScanForm scan_form(const Node& node) {
  const auto given = static_cast<int64_t>(node.inputs.size() - node.captured), inputs = node.integer("num_scan_inputs", 0);
  if (inputs < 1 || inputs > given || static_cast<int64_t>(node.outputs.size()) < given - inputs) {
    throw ModelError(node.label() + ": num_scan_inputs is " + std::to_string(inputs));
  }
  ScanForm form;
  form.inputs = static_cast<size_t>(inputs);
  form.states = static_cast<size_t>(given - inputs);
  form.outputs = node.outputs.size() - form.states;
  form.input_axes = sized(node, "scan_input_axes", form.inputs);
  form.output_axes = sized(node, "scan_output_axes", form.outputs);
  form.input_reversed = flags(sized(node, "scan_input_directions", form.inputs));
  form.output_reversed = flags(sized(node, "scan_output_directions", form.outputs));
  return form;
}

}  // namespace gossamer
