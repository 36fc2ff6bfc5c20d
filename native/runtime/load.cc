#include "runtime/load.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "runtime/coded_weight.h"
#include "runtime/control.h"
#include "runtime/errors.h"
#include "runtime/quantized.h"
#include "runtime/rewrite.h"
#include "runtime/signs.h"
#include "runtime/transformer.h"

namespace gossamer {
namespace {

std::string repair() {
  return ". Rewrite that part of the network with supported operators (gossamer.engine.operators() lists them), or run "
         "the model with another runtime";
}

const Operator& operator_of(const Node& node) {
  const Operator* op = find_operator(node.op);
  if (!op) throw Unsupported("operator " + node.op + (node.name.empty() ? "" : " (node '" + node.name + "')") +
                             " is not supported" + repair());
  return *op;
}

void check_node(const Model& model, const Node& node, const Operator& op) {
  const auto given = static_cast<int>(node.inputs.size());
  if (given < op.min_inputs || (op.max_inputs >= 0 && given > op.max_inputs)) {
    throw ModelError(node.label() + ": " + std::to_string(given) + " inputs");
  }
  for (int i = 0; i < op.min_inputs; ++i) {
    if (!node.has_input(static_cast<size_t>(i))) throw ModelError(node.label() + ": input " + std::to_string(i) + " is absent");
  }
  if (node.outputs.empty() || node.outputs[0] == kAbsent) throw ModelError(node.label() + ": it has no output");
  const std::string known(op.attributes);
  for (const auto& [name, value] : node.attributes) {
    if (known.find(" " + name + " ") == std::string::npos) {
      throw Unsupported(node.label() + ": attribute '" + name + "' is not supported (opset " + std::to_string(model.opset) + ")");
    }
  }
}

void set_types(Model& model, const Node& node, const Operator& op) {
  Types inputs;
  for (const int value : node.inputs) {
    inputs.push_back(value == kAbsent ? std::nullopt : std::optional(model.values[static_cast<size_t>(value)].dtype));
  }
  const std::vector<DType> outputs = op.types(node, inputs);
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    if (node.outputs[i] == kAbsent) continue;
    model.values[static_cast<size_t>(node.outputs[i])].dtype = outputs[std::min(i, outputs.size() - 1)];
  }
}

// --- Constant ------------------------------------------------------------------------------------------------------------

template <class T>
Tensor tensor_of(DType dtype, const std::vector<T>& values, bool scalar) {
  Tensor tensor = make_tensor(dtype, scalar ? Shape{} : Shape{static_cast<int64_t>(values.size())});
  std::copy(values.begin(), values.end(), tensor.as<T>());
  return tensor;
}

Tensor constant_value(const Node& node) {
  if (const Attribute* value = node.find("value")) {
    if (const Tensor* tensor = std::get_if<Tensor>(value)) return *tensor;
  }
  if (node.find("value_float")) return tensor_of<float>(DType::float32, {node.real("value_float", 0)}, true);
  if (node.find("value_int")) return tensor_of<int64_t>(DType::int64, {node.integer("value_int", 0)}, true);
  if (node.find("value_ints")) return tensor_of<int64_t>(DType::int64, node.integers("value_ints"), false);
  if (const Attribute* value = node.find("value_floats")) {
    if (const auto* floats = std::get_if<std::vector<float>>(value)) return tensor_of<float>(DType::float32, *floats, false);
  }
  throw Unsupported(node.label() + ": a constant that is neither a tensor nor numbers");
}

// --- evaluation of what depends on constants alone -------------------------------------------------------------------

std::vector<const ValueInfo*> constant_infos(const Model& model, const Node& node, std::vector<ValueInfo>& memory) {
  memory.resize(node.inputs.size());
  std::vector<const ValueInfo*> infos;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (!node.has_input(i)) {
      infos.push_back(nullptr);
      continue;
    }
    const Tensor& dense = model.constant(node.inputs[i])->dense;
    memory[i] = {dense.dtype, dense.shape, dense.data.get()};
    infos.push_back(&memory[i]);
  }
  return infos;
}

bool depends_on_constants_alone(const Model& model, const Node& node) {
  bool any = false;
  for (const int value : node.inputs) {
    if (value == kAbsent) continue;
    if (!model.constant(value)) return false;
    any = true;
  }
  return any;
}

// What stays in codes: DequantizeLinear of constants, if `codes`, and the Transpose of a matrix.
bool fold_codes(Model& model, const Node& node, bool codes) {
  Constant made;
  if (node.op == "DequantizeLinear" && codes) {
    auto w = coded_weight(model, node);
    if (!w) return false;
    made = {{DType::float32, model.constant(node.inputs[0])->dense.shape, {}}, *std::move(w), ""};
  } else if (node.op == "Transpose") {
    const Constant& from = *model.constant(node.inputs[0]);
    const auto* w = from.dense.data ? nullptr : std::get_if<CodedWeight>(&from.compressed);
    const std::vector<int64_t> perm = node.integers("perm");
    if (!w || from.dense.shape.size() != 2 || perm == std::vector<int64_t>{0, 1}) return false;
    made = {{DType::float32, {from.dense.shape[1], from.dense.shape[0]}, {}}, transposed(*w, from.dense.shape), from.note};
  } else {
    return false;
  }
  model.constants[node.outputs[0]] = std::move(made);
  return true;
}

void fold(Model& model, const Node& node, Isa isa) {
  for (const int value : node.inputs) {
    if (value != kAbsent) decode(model.constants.at(value));
  }
  std::vector<ValueInfo> memory;
  const std::vector<Tensor> results = evaluate(model, node, constant_infos(model, node, memory), isa);
  for (size_t i = 0; i < results.size(); ++i) {
    if (node.outputs[i] == kAbsent) continue;
    Constant& constant = model.constants[node.outputs[i]];
    constant.dense = results[i];
    if (node.op == "DequantizeLinear") constant.note = "quantized weights decoded to float32 while loading: what they meet is not quantized";
  }
}

// --- batch normalization -------------------------------------------------------------------------------------------------

std::map<int, int> use_counts(const Model& model) {
  std::map<int, int> uses;
  for (const Node& node : model.nodes) {
    for (const int value : node.inputs) ++uses[value];
  }
  for (const int value : model.outputs) ++uses[value];
  return uses;
}

int add_constant(Model& model, const std::string& name, Tensor tensor, const std::string& note) {
  const int value = static_cast<int>(model.values.size());
  model.values.push_back({name, tensor.dtype});
  model.constants[value] = {std::move(tensor), {}, note};
  return value;
}

bool foldable(const Model& model, const Node& conv, const Node& norm, std::map<int, int>& uses) {
  if (conv.op != "Conv" || norm.op != "BatchNormalization" || norm.inputs[0] != conv.outputs[0]) return false;
  if (norm.integer("training_mode", 0) != 0 || uses[conv.outputs[0]] != 1) return false;
  const Constant* weights = model.constant(conv.inputs[1]);
  if (!weights || weights->dense.shape.size() < 3) return false;
  const Shape channels{weights->dense.shape[0]};
  const auto* coded = std::get_if<CodedWeight>(&weights->compressed);
  if (coded && !scaled_rows(*coded, weights->dense.shape, std::vector<float>(static_cast<size_t>(channels[0]), 1))) return false;
  for (size_t i = 1; i < 5; ++i) {
    const Constant* parameter = model.constant(norm.inputs[i]);
    if (!parameter || parameter->dense.shape != channels) return false;
  }
  if (!conv.has_input(2)) return true;
  const Constant* bias = model.constant(conv.inputs[2]);
  return bias && bias->dense.shape == channels;
}

// A new constant: `value` with each element multiplied by the factor of its first dimension; codes stay codes.
int add_scaled(Model& model, const std::string& name, int value, const std::vector<double>& factors) {
  Constant& old = model.constants.at(value);
  const Shape shape = old.dense.shape;
  if (const auto* coded = std::get_if<CodedWeight>(&old.compressed); coded && !old.dense.data) {
    auto scaled = scaled_rows(*coded, shape, {factors.begin(), factors.end()});
    const int made = add_constant(model, name, {DType::float32, shape, {}}, old.note);
    model.constants[made].compressed = *std::move(scaled);
    return made;
  }
  decode(old);
  Tensor scaled = make_tensor(DType::float32, shape);
  const auto rows = static_cast<int64_t>(factors.size()), depth = element_count(shape) / std::max<int64_t>(rows, 1);
  for (int64_t i = 0; i < rows * depth; ++i) {
    scaled.as<float>()[i] = static_cast<float>(old.dense.as<float>()[i] * factors[static_cast<size_t>(i / depth)]);
  }
  return add_constant(model, name, std::move(scaled), old.note);
}

// w' = w s, b' = (b - mean) s + shift, with s = scale / sqrt(var + epsilon), per output channel.
void fold_norm(Model& model, Node& conv, const Node& norm) {
  for (size_t i = 1; i < 5; ++i) decode(model.constants.at(norm.inputs[i]));
  if (conv.has_input(2)) decode(model.constants.at(conv.inputs[2]));
  const int64_t channels = model.constant(conv.inputs[1])->dense.shape[0];
  const auto parameter = [&](size_t i) { return model.constant(norm.inputs[i])->dense.as<float>(); };
  const float* old_bias = conv.has_input(2) ? model.constant(conv.inputs[2])->dense.as<float>() : nullptr;
  Tensor bias = make_tensor(DType::float32, {channels});
  std::vector<double> factors;
  for (int64_t c = 0; c < channels; ++c) {
    const double s = parameter(1)[c] / std::sqrt(double{parameter(4)[c]} + norm.real("epsilon", 1e-5f));
    factors.push_back(s);
    const double shifted = (old_bias ? double{old_bias[c]} : 0.0) - parameter(3)[c];
    bias.as<float>()[c] = static_cast<float>(shifted * s + parameter(2)[c]);
  }
  conv.inputs.resize(3, kAbsent);
  conv.inputs[1] = add_scaled(model, conv.name + ".folded_weights", conv.inputs[1], factors);
  conv.inputs[2] = add_constant(model, conv.name + ".folded_bias", std::move(bias), "");
  conv.outputs[0] = norm.outputs[0];
}

void fold_norms(Model& model) {
  std::map<int, int> uses = use_counts(model);
  std::map<int, size_t> producer;
  std::set<size_t> gone;
  for (size_t i = 0; i < model.nodes.size(); ++i) {
    const Node& norm = model.nodes[i];
    const auto before = norm.inputs.empty() ? producer.end() : producer.find(norm.inputs[0]);
    if (before != producer.end() && foldable(model, model.nodes[before->second], norm, uses)) {
      fold_norm(model, model.nodes[before->second], norm);
      producer[norm.outputs[0]] = before->second;
      gone.insert(i);
      continue;
    }
    for (const int value : norm.outputs) producer[value] = i;
  }
  std::vector<Node> kept;
  for (size_t i = 0; i < model.nodes.size(); ++i) {
    if (!gone.count(i)) kept.push_back(std::move(model.nodes[i]));
  }
  model.nodes = std::move(kept);
}

// --- compressed weights --------------------------------------------------------------------------------------------------

// Whether a kernel reads input `i` of a node in its compressed form.
bool reads_compressed(const Model& model, const Node& node, size_t i) {
  const Constant& constant = *model.constant(node.inputs[i]);
  const bool coded = std::holds_alternative<CodedWeight>(constant.compressed);
  if (node.op == "Gather") return i == 0;
  if (i != 1 || node.inputs[0] == node.inputs[1]) return false;
  if (node.op == "Conv") return coded && constant.dense.shape.size() <= 4;
  if (node.op != "Gemm" && node.op != "MatMul") return false;
  return constant.dense.shape.size() == 2 && (coded || node.integer("transA", 0) == 0);
}

void decode_for_others(Model& model, const std::vector<Node>& nodes) {
  for (const Node& node : nodes) {
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const auto at = model.constants.find(node.inputs[i]);
      if (at == model.constants.end() || !at->second.is_compressed() || reads_compressed(model, node, i)) continue;
      const auto* coded = std::get_if<CodedWeight>(&at->second.compressed);
      const char* what = !coded ? "sparse" : coded->centroids.empty() ? "quantized" : "codebook";
      decode(at->second);
      if (node.op == "Conv" && i == 1 && what == std::string_view("sparse")) continue;  // it finds the zeros by itself
      at->second.note = std::string(what) + " weights decoded while loading: no " + what + " kernel for " + node.op + " yet";
    }
    for (const auto& [key, attribute] : node.attributes) {
      if (const auto* body = std::get_if<std::shared_ptr<Subgraph>>(&attribute)) decode_for_others(model, (*body)->nodes);
    }
  }
}

}  // namespace

std::vector<Tensor> evaluate(const Model& model, const Node& node, const std::vector<const ValueInfo*>& inputs, Isa isa) {
  const Operator& op = operator_of(node);
  Inference inference{node, model.opset, inputs, {}};
  op.infer(inference);
  Types types;
  for (const ValueInfo* input : inputs) types.push_back(input ? std::optional(input->dtype) : std::nullopt);
  const std::vector<DType> dtypes = op.types(node, types);
  std::vector<Tensor> results;
  std::vector<ValueInfo> infos;
  for (size_t i = 0; i < inference.outputs.size() && i < node.outputs.size(); ++i) {
    const DType dtype = dtypes[std::min(i, dtypes.size() - 1)];
    results.push_back(make_tensor(dtype, inference.outputs[i]));
    infos.push_back({dtype, results.back().shape, nullptr});
  }
  if (!op.build) {
    std::copy_n(inputs[0]->known, element_count(results[0].shape) * dtype_size(results[0].dtype), results[0].data.get());
    return results;
  }
  std::vector<std::byte*> pointers;
  std::vector<std::shared_ptr<std::byte[]>> scratch;
  PackedWeights packed;
  const auto slot_of = [&](int value) -> Slot {
    for (size_t i = 0; i < results.size(); ++i) {
      if (node.outputs[i] == value) pointers.push_back(results[i].data.get());
    }
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (node.inputs[i] == value) pointers.push_back(const_cast<std::byte*>(inputs[i]->known));  // only read
    }
    return static_cast<Slot>(pointers.size()) - 1;
  };
  const auto make_scratch = [&](int64_t bytes) -> Slot {
    scratch.push_back(allocate(bytes));
    pointers.push_back(scratch.back().get());
    return static_cast<Slot>(pointers.size()) - 1;
  };
  const auto in_arena = [](Slot) { return false; };
  Build build{node, model, isa, 1, packed, {}, inputs, {}, slot_of, make_scratch, in_arena, {}, node.outputs[0]};
  for (const ValueInfo& info : infos) build.outputs.push_back(&info);
  ThreadPool alone(1);
  if (element_count(results[0].shape) > 0 || results.size() > 1) op.build(build).run({pointers.data(), &alone});
  return results;
}

namespace {

constexpr int64_t kMostFoldedBytes = int64_t{1} << 28;  // what a few constants may be spread to, while loading

// What may be computed while loading, in bytes: a file cannot make more memory out of itself than this.
int64_t folding_budget(const Model& model) {
  int64_t bytes = int64_t{1} << 30;
  for (const auto& [value, constant] : model.constants) bytes += 16 * element_count(constant.dense.shape);
  return bytes;
}

// Bytes, at most, of what a node computes out of constants.
int64_t folded_bytes(const Model& model, const Node& node, bool& spreads) {
  std::vector<ValueInfo> memory;
  Inference inference{node, model.opset, constant_infos(model, node, memory), {}};
  find_operator(node.op)->infer(inference);
  spreads = inference.outputs != std::vector<Shape>{inference.shape(0)};
  int64_t bytes = 0;
  for (const Shape& shape : inference.outputs) bytes += 8 * element_count(shape);
  return bytes;
}

// Computes what depends on constants alone. `keeps`: nodes that are left for later. What would be too much is computed
// while running. `codes`: quantized weights stay in codes.
template <class Keeps>
void fold_constants(Model& model, std::vector<Node>& all, Isa isa, int64_t& budget, const Keeps& keeps, bool codes = false) {
  std::vector<Node> nodes;
  for (Node& node : all) {
    bool folds = !is_control(node) && depends_on_constants_alone(model, node) && !keeps(node), spreads = false;
    const int64_t bytes = folds ? folded_bytes(model, node, spreads) : 0;
    folds = folds && bytes <= budget && !(spreads && bytes > kMostFoldedBytes);
    if (!folds) nodes.push_back(std::move(node));
    else if (!fold_codes(model, node, codes)) fold(model, node, isa);
    budget -= folds ? bytes : 0;
  }
  all = std::move(nodes);
}

void read_constant(Model& model, const Node& node) {
  if (node.outputs.empty() || node.outputs[0] == kAbsent) throw ModelError(node.label() + ": it has no output");
  Tensor value = constant_value(node);
  model.values[static_cast<size_t>(node.outputs[0])].dtype = value.dtype;
  model.constants[node.outputs[0]].dense = std::move(value);
}

void check_nodes(Model& model, std::vector<Node>& all, Isa isa, int64_t& budget);

void check_control(Model& model, const Node& node, Isa isa, int64_t& budget) {
  prepare_control(model, node, [&](std::vector<Node>& inner) {
    check_nodes(model, inner, isa, budget);
    fold_constants(model, inner, isa, budget, [](const Node&) { return false; });
  });
}

void check_nodes(Model& model, std::vector<Node>& all, Isa isa, int64_t& budget) {
  std::vector<Node> nodes;
  for (Node& node : all) {
    if (node.op == "Constant") {
      read_constant(model, node);
      continue;
    }
    if (is_control(node)) {
      check_control(model, node, isa, budget);
      nodes.push_back(std::move(node));
      continue;
    }
    for (Node& part : rewritten(model, std::move(node))) {
      const Operator& op = operator_of(part);
      check_node(model, part, op);
      set_types(model, part, op);
      nodes.push_back(std::move(part));
    }
  }
  all = std::move(nodes);
}

}  // namespace

void prepare(Model& model, Isa isa) {
  int64_t budget = folding_budget(model);
  check_nodes(model, model.nodes, isa, budget);
  // Quantized weights stay as they are until it is known whether an integer kernel takes them.
  fold_constants(model, model.nodes, isa, budget, [](const Node& node) { return node.op == "DequantizeLinear"; });
  fuse_transformer_patterns(model);
  rewrite_quantized(model, isa);
  fold_constants(model, model.nodes, isa, budget, [](const Node&) { return false; }, true);
  fold_norms(model);
  rewrite_signs(model);
  decode_for_others(model, model.nodes);
  for (const int value : model.outputs) {
    if (const auto at = model.constants.find(value); at != model.constants.end()) decode(at->second);
  }
}

}  // namespace gossamer
