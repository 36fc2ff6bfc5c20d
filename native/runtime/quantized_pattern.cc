#include "runtime/quantized_pattern.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/errors.h"
#include "runtime/load.h"
#include "runtime/op.h"

namespace gossamer {

double ByteWeights::sum(int64_t channel) const {
  const int64_t depth = static_cast<int64_t>(values.size()) / shape[0];
  double total = 0;
  for (int64_t i = channel * depth; i < (channel + 1) * depth; ++i) total += values[static_cast<size_t>(i)];
  return total;
}

Patterns::Patterns(const Model& model) : model_(model), nodes_(model.nodes) {
  for (size_t i = 0; i < nodes_.size(); ++i) {
    for (const int value : nodes_[i].inputs) {
      ++uses_[value];
      reader_[value] = i;
    }
    for (const int value : nodes_[i].outputs) producer_[value] = i;
  }
  for (const int value : model.outputs) uses_[value] += 2;  // nobody may absorb it
}

const Node* Patterns::producer(int value) const {
  const auto at = producer_.find(value);
  return value == kAbsent || at == producer_.end() ? nullptr : &nodes_[at->second];
}

std::optional<size_t> Patterns::producer_index(int value) const {
  const auto at = producer_.find(value);
  return value == kAbsent || at == producer_.end() ? std::nullopt : std::optional(at->second);
}

int Patterns::uses(int value) const {
  const auto at = uses_.find(value);
  return at == uses_.end() ? 0 : at->second;
}

std::optional<size_t> Patterns::only_reader(int value) const {
  return uses(value) == 1 ? std::optional(reader_.at(value)) : std::nullopt;
}

int Patterns::origin(int value) const {
  const Node* node = producer(value);
  while (node && node->op == "Identity") {
    value = node->inputs[0];
    node = producer(value);
  }
  return value;
}

const Tensor* Patterns::constant(int value) const {
  const Constant* found = value == kAbsent ? nullptr : model_.constant(value);
  return found && found->dense.data ? &found->dense : nullptr;
}

std::vector<double> Patterns::numbers(int value) const {
  const Tensor* tensor = constant(value);
  std::vector<double> all;
  if (!tensor) return all;
  for (int64_t i = 0; i < element_count(tensor->shape); ++i) {
    switch (tensor->dtype) {
      case DType::float32: all.push_back(tensor->as<float>()[i]); break;
      case DType::int64: all.push_back(static_cast<double>(tensor->as<int64_t>()[i])); break;
      case DType::int32: all.push_back(tensor->as<int32_t>()[i]); break;
      case DType::int8: all.push_back(tensor->as<int8_t>()[i]); break;
      case DType::uint8: all.push_back(tensor->as<uint8_t>()[i]); break;
      default: return {};
    }
  }
  return all;
}

std::optional<double> Patterns::scalar(int value) const {
  const std::vector<double> all = numbers(value);
  return all.size() == 1 ? std::optional(all[0]) : std::nullopt;
}

std::optional<Quantization> Patterns::quantization(const Node& node) const {
  const bool quantizes = node.op == "QuantizeLinear";
  if (!quantizes && node.op != "DequantizeLinear") return std::nullopt;
  const DType dtype = model_.values[static_cast<size_t>(quantizes ? node.outputs[0] : node.inputs[0])].dtype;
  const auto scale = scalar(node.inputs[1]), zero = node.has_input(2) ? scalar(node.inputs[2]) : 0.0;
  if (!scale || !zero || !(*scale > 0) || !std::isfinite(*scale)) return std::nullopt;
  if (dtype != DType::uint8 && dtype != DType::int8) return std::nullopt;
  const bool is_signed = dtype == DType::int8;
  return Quantization{static_cast<float>(*scale), static_cast<int64_t>(*zero) + (is_signed ? 128 : 0), is_signed};
}

std::optional<QuantizedTensor> Patterns::quantized(int value) const {
  const Node* node = producer(value);
  if (!node || node->op != "DequantizeLinear" || constant(node->inputs[0])) return std::nullopt;
  const auto found = quantization(*node);
  if (!found) return std::nullopt;
  QuantizedTensor tensor{*found};
  tensor.value = node->inputs[0];
  tensor.dequantized = value;
  return tensor;
}

// Subtracts each channel's zero point, channels first; nothing where the result does not fit 8 bits.
std::optional<ByteWeights> Patterns::shifted(const Tensor& ints, int64_t axis, const std::vector<double>& zeros) const {
  ByteWeights w{ints.shape, {}, {}};
  if (axis == 1) std::swap(w.shape[0], w.shape[1]);
  const int64_t rows = w.shape[0], depth = element_count(ints.shape) / rows;
  for (int64_t o = 0; o < rows; ++o) {
    for (int64_t i = 0; i < depth; ++i) {
      const int64_t at = axis == 1 ? i * rows + o : o * depth + i;
      const int raw = ints.dtype == DType::int8 ? ints.as<int8_t>()[at] : ints.as<uint8_t>()[at];
      const double x = raw - zeros[zeros.size() == 1 ? 0 : static_cast<size_t>(o)];
      if (x < -128 || x > 127) return std::nullopt;
      w.values.push_back(static_cast<int8_t>(x));
    }
  }
  return w;
}

std::optional<ByteWeights> Patterns::integer_weights(int value, int zero) const {
  const Tensor* ints = constant(value);
  if (!ints || (ints->dtype != DType::int8 && ints->dtype != DType::uint8) || ints->shape.empty() || element_count(ints->shape) == 0) return std::nullopt;
  const std::vector<double> zeros = zero == kAbsent ? std::vector<double>{0} : numbers(zero);
  if (zeros.size() != 1 && static_cast<int64_t>(zeros.size()) != ints->shape[0]) return std::nullopt;
  return shifted(*ints, 0, zeros);
}

std::optional<ByteWeights> Patterns::weights(int value, int64_t axis) const {
  const Node* node = producer(origin(value));
  if (!node || node->op != "DequantizeLinear" || node->integer("block_size", 0) != 0) return std::nullopt;
  const Tensor* ints = constant(node->inputs[0]);
  if (!ints || (ints->dtype != DType::int8 && ints->dtype != DType::uint8)) return std::nullopt;
  const auto rank = static_cast<int64_t>(ints->shape.size());
  if (axis >= rank || (axis == 1 && rank != 2) || element_count(ints->shape) == 0) return std::nullopt;
  const auto rows = static_cast<size_t>(ints->shape[static_cast<size_t>(axis)]);
  const std::vector<double> scales = numbers(node->inputs[1]), zeros = node->has_input(2) ? numbers(node->inputs[2]) : std::vector<double>{0.0};
  const int64_t scale_axis = node->integer("axis", 1);
  const bool by_row = (scale_axis < 0 ? scale_axis + rank : scale_axis) == axis;
  if (scales.size() != 1 && (scales.size() != rows || !by_row)) return std::nullopt;
  if (zeros.size() != 1 && zeros.size() != scales.size()) return std::nullopt;
  auto w = shifted(*ints, axis, zeros);
  if (!w) return std::nullopt;
  for (size_t o = 0; o < rows; ++o) w->scales.push_back(static_cast<float>(scales[scales.size() == 1 ? 0 : o]));
  if (!std::all_of(w->scales.begin(), w->scales.end(), [](float s) { return s > 0 && std::isfinite(s); })) return std::nullopt;
  return w;
}

std::optional<std::vector<double>> Patterns::channel_values(int value, int64_t count) const {
  value = origin(value);
  const auto wanted = static_cast<size_t>(count);
  if (value == kAbsent) return std::vector<double>(wanted);
  const Node* node = producer(value);
  std::vector<double> all;
  if (node && node->op == "DequantizeLinear") {
    all = numbers(node->inputs[0]);
    const std::vector<double> scales = numbers(node->inputs[1]), zeros = node->has_input(2) ? numbers(node->inputs[2]) : std::vector<double>{0.0};
    for (size_t i = 0; i < all.size(); ++i) {
      if ((scales.size() != 1 && scales.size() != all.size()) || (zeros.size() != 1 && zeros.size() != all.size())) return std::nullopt;
      all[i] = (all[i] - zeros[zeros.size() == 1 ? 0 : i]) * scales[scales.size() == 1 ? 0 : i];
    }
  } else {
    all = numbers(value);
  }
  const bool fits = all.size() == wanted && std::all_of(all.begin(), all.end(), [](double x) { return std::isfinite(x); });
  return fits ? std::optional(all) : std::nullopt;
}

bool Patterns::clamps(const Node& node, float& low, float& high) const {
  if (node.op == "Relu") {
    low = 0;
    return true;
  }
  if (node.op != "Clip") return false;
  low = node.real("min", low);
  high = node.real("max", high);
  for (size_t i = 1; i < 3; ++i) {
    if (!node.has_input(i)) continue;
    const auto bound = scalar(node.inputs[i]);
    if (!bound) return false;
    (i == 1 ? low : high) = static_cast<float>(*bound);
  }
  return low <= high;
}

Tail Patterns::tail(int value) const {
  Tail tail;
  tail.value = value;
  tail.low = -std::numeric_limits<float>::infinity();
  tail.high = std::numeric_limits<float>::infinity();
  while (uses(tail.value) == 1) {
    const size_t index = reader_.at(tail.value);
    const Node& reader = nodes_[index];
    if (reader.inputs[0] != tail.value) break;
    if (const auto to = reader.op == "QuantizeLinear" ? quantization(reader) : std::nullopt) {
      const auto byte = [&](float x) { return std::clamp(std::nearbyint(x / to->scale) + static_cast<float>(to->zero), 0.0f, 255.0f); };
      tail.low = byte(tail.low);
      tail.high = byte(tail.high);
      tail.quantization = to;
    } else if (!tail.only_quantizes || !clamps(reader, tail.low, tail.high)) {
      break;
    } else {
      tail.only_quantizes = false;
    }
    tail.nodes.push_back(index);
    tail.value = reader.outputs[0];
    if (tail.quantization) break;
  }
  return tail;
}

BiasAdd Patterns::bias_add(int product, int64_t channels) const {
  const BiasAdd none{kAbsent, product, {}};
  if (uses(product) != 1) return none;
  const size_t index = reader_.at(product);
  const Node& add = nodes_[index];
  if (add.op != "Add") return none;
  const int bias = add.inputs[0] == product ? add.inputs[1] : add.inputs[0];
  const Node* maker = producer(bias);
  const Tensor* tensor = constant(maker && maker->op == "DequantizeLinear" ? maker->inputs[0] : bias);
  if (!tensor || tensor->shape != Shape{channels}) return none;
  return {bias, add.outputs[0], {index}};
}

bool Patterns::means_all_pixels(const Node& node, size_t rank) const {
  if (node.op == "GlobalAveragePool") return true;
  std::vector<double> axes = node.has_input(1) ? numbers(node.inputs[1]) : std::vector<double>{};
  for (const int64_t axis : node.integers("axes")) axes.push_back(static_cast<double>(axis));
  for (double& axis : axes) axis = axis < 0 ? axis + static_cast<double>(rank) : axis;
  std::sort(axes.begin(), axes.end());
  return rank == 3 ? axes == std::vector<double>{2} : axes == std::vector<double>{2, 3};
}

bool Patterns::takes(const Node& node, DType dtype) const {
  Types types;
  for (const int value : node.inputs) {
    types.push_back(value == kAbsent ? std::nullopt : std::optional(model_.values[static_cast<size_t>(value)].dtype));
  }
  types[0] = dtype;
  try {
    return find_operator(node.op)->types(node, types).at(0) == dtype;
  } catch (const Unsupported&) {
    return false;
  }
}

bool Patterns::moves_elements(const Node& node) {
  static const std::set<std::string_view> kOps{"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity",
                                               "Slice", "Expand", "Tile", "DepthToSpace", "SpaceToDepth"};
  return kOps.count(node.op) > 0 && node.outputs.size() == 1;
}

std::optional<std::vector<int64_t>> Patterns::spatial_zeros(const Node& node) const {
  if (node.text("mode", "constant") != "constant" || node.has_input(3)) return std::nullopt;
  const auto value = node.has_input(2) ? constant_or_dequantized(node.inputs[2]) : std::nullopt;
  if (node.has_input(2) && !(value && value->dtype == DType::float32 && element_count(value->shape) == 1 && value->as<float>()[0] == 0)) return std::nullopt;
  std::vector<double> given = node.has_input(1) ? numbers(node.inputs[1]) : std::vector<double>{};
  for (const int64_t pad : node.integers("pads")) given.push_back(static_cast<double>(pad));
  const size_t rank = given.size() / 2;
  if (rank < 3 || given.size() % 2 || node.real("value", 0) != 0) return std::nullopt;
  std::vector<int64_t> spatial;
  for (size_t i = 0; i < given.size(); ++i) {
    const bool in_front = i % rank < 2;
    if (given[i] < 0 || given[i] > 4096 || (in_front && given[i] != 0)) return std::nullopt;
    if (!in_front) spatial.push_back(static_cast<int64_t>(given[i]));
  }
  return spatial;
}

std::optional<Tensor> Patterns::constant_or_dequantized(int value) const {
  value = origin(value);
  if (const Tensor* tensor = constant(value)) return *tensor;
  const Node* node = producer(value);
  const auto how = node && node->op == "DequantizeLinear" ? quantization(*node) : std::nullopt;
  const Tensor* ints = how ? constant(node->inputs[0]) : nullptr;
  if (!ints) return std::nullopt;
  Tensor floats = make_tensor(DType::float32, ints->shape);
  for (int64_t i = 0; i < element_count(ints->shape); ++i) {
    const int64_t q = how->is_signed ? ints->as<int8_t>()[i] + 128 : ints->as<uint8_t>()[i];
    floats.as<float>()[i] = static_cast<float>(q - how->zero) * how->scale;
  }
  return floats;
}

std::optional<size_t> Patterns::mapped_input(const Node& node, size_t rank) const {
  static const std::set<std::string_view> kOfOne{"Relu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "LeakyRelu",
                                                 "Elu", "Gelu", "Erf", "Softplus", "Abs", "Neg", "Sqrt", "Exp"};
  static const std::set<std::string_view> kOfTwo{"Add", "Sub", "Mul", "Div", "Pow", "Max", "Min"};
  const bool of_two = kOfTwo.count(node.op) > 0 && node.inputs.size() == 2;
  if ((!of_two && kOfOne.count(node.op) == 0) || node.outputs.size() != 1 || node.inputs.empty()) return std::nullopt;
  const size_t input = of_two && quantized(node.inputs[1]) ? 1 : 0;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (i == input || node.inputs[i] == kAbsent) continue;
    const auto other = constant_or_dequantized(node.inputs[i]);
    if (!other || element_count(other->shape) != 1 || other->shape.size() > rank) return std::nullopt;
  }
  return input;
}

std::vector<uint8_t> Patterns::table(const Node& node, size_t input, const QuantizedTensor& x, const Tail& tail, Isa isa) const {
  Tensor floats = make_tensor(DType::float32, {256});
  for (int i = 0; i < 256; ++i) floats.as<float>()[i] = static_cast<float>(i - x.zero) * x.scale;
  std::vector<Tensor> tensors(node.inputs.size());
  std::vector<ValueInfo> memory(node.inputs.size());
  std::vector<const ValueInfo*> inputs;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (node.inputs[i] != kAbsent) {
      tensors[i] = i == input ? floats : *constant_or_dequantized(node.inputs[i]);
      memory[i] = {tensors[i].dtype, tensors[i].shape, tensors[i].data.get()};
    }
    inputs.push_back(node.inputs[i] == kAbsent ? nullptr : &memory[i]);
  }
  const std::vector<Tensor> results = evaluate(model_, node, inputs, isa);
  std::vector<uint8_t> bytes;
  for (int i = 0; i < 256; ++i) {
    const float steps = std::nearbyint(results[0].as<float>()[i] / tail.quantization->scale) + static_cast<float>(tail.quantization->zero);
    bytes.push_back(static_cast<uint8_t>(steps >= tail.low ? std::min(steps, tail.high) : tail.low));  // NaN to low
  }
  return bytes;
}

}  // namespace gossamer
