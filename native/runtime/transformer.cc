#include "runtime/transformer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <set>

#include "runtime/attention.h"

namespace gossamer {
namespace {

bool close(double a, double b) { return std::abs(a - b) <= 1e-5 * std::abs(b); }

// A product taken apart: numbers gathered, the other factors in order.
struct Factors {
  double number = 1;
  std::vector<int> values;
};

// An operand of attention: the tensor, and dimension perm[d] of it that is dimension d of what the product reads.
struct Operand {
  int value = kAbsent;
  std::vector<int64_t> perm{0, 1, 2, 3};
  double scale = 1;
  Rounding rounding;
  bool is_4d = false;
};

// The attribute of a Transpose of four dimensions; nothing for another.
std::optional<std::vector<int64_t>> permutation(const Node& node) {
  const std::vector<int64_t> perm = node.integers("perm");
  std::vector<int64_t> sorted = perm;
  std::sort(sorted.begin(), sorted.end());
  return sorted == std::vector<int64_t>{0, 1, 2, 3} ? std::optional(perm) : std::nullopt;
}

class Fuser {
 public:
  explicit Fuser(Model& model) : model_(model) {
    for (size_t i = 0; i < model.nodes.size(); ++i) {
      for (const int value : model.nodes[i].inputs) {
        ++uses_[value];
        reader_[value] = i;
      }
      for (const int value : model.nodes[i].outputs) producer_[value] = i;
    }
    for (const int value : model.outputs) uses_[value] += 2;
  }

  void run() {
    for (size_t i = 0; i < model_.nodes.size(); ++i) {
      const std::string op = model_.nodes[i].op;
      if (model_.nodes[i].outputs.empty() || !is_float(model_.nodes[i].outputs[0])) continue;
      if (op == "Mul") gelu(model_.nodes[i]);
      else if (op == "Div") layer_norm(i);
      else if (op == "MatMul") attention(i);
    }
  }

 private:
  // --- looking -----------------------------------------------------------------------------------------------------------

  bool is_float(int value) const {
    return value != kAbsent && model_.values[static_cast<size_t>(value)].dtype == DType::float32;
  }

  const Node* maker(int value, std::string_view op) const {
    const auto at = producer_.find(value);
    return at != producer_.end() && model_.nodes[at->second].op == op ? &model_.nodes[at->second] : nullptr;
  }

  bool used_once(int value) const {
    const auto at = uses_.find(value);
    return at != uses_.end() && at->second == 1;
  }

  // The only reader of a value, where it has that operator and reads it first.
  std::optional<size_t> reader(int value, std::string_view op) const {
    if (!used_once(value)) return std::nullopt;
    const auto at = reader_.find(value);
    if (at == reader_.end() || model_.nodes[at->second].op != op) return std::nullopt;
    return at->second;
  }

  const Tensor* constant(int value) const {
    const Constant* found = value == kAbsent ? nullptr : model_.constant(value);
    return found && found->dense.data ? &found->dense : nullptr;
  }

  // A float32 constant of one element that changes no shape.
  std::optional<double> number(int value) const {
    const Tensor* tensor = constant(value);
    if (!tensor || tensor->dtype != DType::float32 || tensor->shape.size() > 1 || element_count(tensor->shape) != 1) return std::nullopt;
    return tensor->as<float>()[0];
  }

  std::vector<int64_t> whole_numbers(int value) const {
    const Tensor* tensor = constant(value);
    if (!tensor || tensor->dtype != DType::int64) return {};
    return {tensor->as<int64_t>(), tensor->as<int64_t>() + element_count(tensor->shape)};
  }

  // x where value = x times a number.
  std::optional<int> scaled(int value, double& factor) const {
    for (const char* op : {"Mul", "Div"}) {
      const Node* node = maker(value, op);
      if (!node) continue;
      for (size_t side = 0; side < (node->op == "Mul" ? 2u : 1u); ++side) {
        if (const auto by = number(node->inputs[1 - side])) {
          factor *= node->op == "Mul" ? *by : 1 / *by;
          return node->inputs[side];
        }
      }
    }
    return std::nullopt;
  }

  // x where value = x + 1 (or another number).
  std::optional<int> plus(int value, double wanted) const {
    const Node* node = maker(value, "Add");
    for (size_t side = 0; node && side < 2; ++side) {
      const auto by = number(node->inputs[1 - side]);
      if (by && close(*by, wanted)) return node->inputs[side];
    }
    return std::nullopt;
  }

  Factors factors(int value, int depth = 0) const {
    Factors all;
    if (const auto plain = number(value)) {
      all.number = *plain;
    } else if (const auto inner = scaled(value, all.number); inner && depth < 4) {
      Factors rest = factors(*inner, depth + 1);
      all.number *= rest.number;
      all.values = std::move(rest.values);
    } else if (const Node* node = maker(value, "Mul"); node && depth < 4) {
      all.number = 1;
      for (const int side : node->inputs) {
        const Factors rest = factors(side, depth + 1);
        all.number *= rest.number;
        all.values.insert(all.values.end(), rest.values.begin(), rest.values.end());
      }
    } else {
      all.number = 1;
      all.values = {value};
    }
    return all;
  }

  // --- GELU --------------------------------------------------------------------------------------------------------------

  void gelu(Node& node) {
    const Factors all = factors(node.outputs[0]);
    if (all.values.size() != 2 || !close(all.number, 0.5)) return;
    for (size_t side = 0; side < 2; ++side) {
      const int x = all.values[side];
      const auto inner = plus(all.values[1 - side], 1);
      if (!inner) continue;
      const bool with_tanh = is_tanh_of(*inner, x);
      if (!with_tanh && !is_erf_of(*inner, x)) continue;
      node = {"Gelu", node.name, {x}, node.outputs, {{"approximate", std::string(with_tanh ? "tanh" : "none")}}};
      return;
    }
  }

  bool is_erf_of(int value, int x) const {
    const Node* erf = maker(value, "Erf");
    double factor = 1;
    const auto inner = erf ? scaled(erf->inputs[0], factor) : std::nullopt;
    return inner == x && close(factor, std::sqrt(0.5));
  }

  // tanh(sqrt(2 / pi) (x + 0.044715 x^3)).
  bool is_tanh_of(int value, int x) const {
    const Node* node = maker(value, "Tanh");
    if (!node) return false;
    const Factors outer = factors(node->inputs[0]);
    const Node* sum = outer.values.size() == 1 && close(outer.number, 0.7978845608) ? maker(outer.values[0], "Add") : nullptr;
    for (size_t side = 0; sum && side < 2; ++side) {
      if (sum->inputs[side] == x && is_cubic(sum->inputs[1 - side], x)) return true;
    }
    return false;
  }

  bool is_cubic(int value, int x) const {
    const Factors all = factors(value);
    if (!close(all.number, 0.044715)) return false;
    if (all.values == std::vector<int>{x, x, x}) return true;
    const Node* power = all.values.size() == 1 ? maker(all.values[0], "Pow") : nullptr;
    return power && power->inputs[0] == x && number(power->inputs[1]) == 3.0;
  }

  // --- layer normalization -------------------------------------------------------------------------------------------------

  // x where value is the mean of x along the last dimension, which is kept.
  std::optional<int> mean_of(int value) const {
    const Node* node = maker(value, "ReduceMean");
    if (!node || node->integer("keepdims", 1) != 1) return std::nullopt;
    const std::vector<int64_t> axes = node->has_input(1) ? whole_numbers(node->inputs[1]) : node->integers("axes");
    return axes == std::vector<int64_t>{-1} ? std::optional(node->inputs[0]) : std::nullopt;
  }

  bool is_square_of(int value, int x) const {
    if (const Node* power = maker(value, "Pow")) return power->inputs[0] == x && number(power->inputs[1]) == 2.0;
    const Node* product = maker(value, "Mul");
    return product && product->inputs[0] == x && product->inputs[1] == x;
  }

  // The variance of what `centered` was made from, plus a number: sqrt of it divides.
  std::optional<double> epsilon_of(int root, int centered) const {
    const Node* node = maker(root, "Sqrt");
    const Node* sum = node ? maker(node->inputs[0], "Add") : nullptr;
    for (size_t side = 0; sum && side < 2; ++side) {
      const auto epsilon = number(sum->inputs[1 - side]);
      const auto square = epsilon ? mean_of(sum->inputs[side]) : std::nullopt;
      if (square && is_square_of(*square, centered)) return epsilon;
    }
    return std::nullopt;
  }

  // The constant vector that the only reader of a value joins to it, and that reader.
  std::optional<size_t> joined(int value, std::string_view op, int& with) const {
    if (!used_once(value)) return std::nullopt;
    const auto at = reader_.find(value);
    if (at == reader_.end() || model_.nodes[at->second].op != op) return std::nullopt;
    const Node& node = model_.nodes[at->second];
    with = node.inputs[node.inputs[0] == value ? 1 : 0];
    const Tensor* vector = constant(with);
    if (!vector || vector->shape.size() != 1 || vector->dtype != DType::float32) return std::nullopt;
    return at->second;
  }

  void layer_norm(size_t index) {
    const Node& quotient = model_.nodes[index];
    const int centered = quotient.inputs[0];
    const Node* difference = maker(centered, "Sub");
    if (!difference || mean_of(difference->inputs[1]) != difference->inputs[0]) return;
    const auto epsilon = epsilon_of(quotient.inputs[1], centered);
    int scale = kAbsent, shift = kAbsent;
    const auto product = epsilon ? joined(quotient.outputs[0], "Mul", scale) : std::nullopt;
    const auto sum = product ? joined(model_.nodes[*product].outputs[0], "Add", shift) : std::nullopt;
    if (!sum || constant(scale)->shape != constant(shift)->shape) return;
    Node& last = model_.nodes[*sum];
    last = {"LayerNormalization", last.name, {difference->inputs[0], scale, shift}, last.outputs,
            {{"epsilon", static_cast<float>(*epsilon)}}};
  }

  // --- attention -----------------------------------------------------------------------------------------------------------

  // Through a QuantizeLinear and its DequantizeLinear with the same constants for the whole tensor.
  std::optional<int> rounded(int value, Rounding& rounding) const {
    const Node* back = maker(value, "DequantizeLinear");
    const Node* forth = back ? maker(back->inputs[0], "QuantizeLinear") : nullptr;
    if (!forth || !back->has_input(2) || back->inputs[1] != forth->inputs[1] || !forth->has_input(2) || back->inputs[2] != forth->inputs[2]) return std::nullopt;
    const auto scale = number(back->inputs[1]);
    const Tensor* zero = constant(back->inputs[2]);
    if (!scale || !(*scale > 0) || !std::isfinite(*scale) || !zero || element_count(zero->shape) != 1) return std::nullopt;
    if (zero->dtype == DType::uint8) rounding = {static_cast<float>(*scale), static_cast<float>(*zero->as<uint8_t>()), 0, 255};
    else if (zero->dtype == DType::int8) rounding = {static_cast<float>(*scale), static_cast<float>(*zero->as<int8_t>()), -128, 127};
    else return std::nullopt;
    return forth->inputs[0];
  }

  // x where value = x with its last two dimensions exchanged by way of three: reshape, transpose, reshape.
  std::optional<int> exchanged(int value) const {
    const Node* out = maker(value, "Reshape");
    const Node* turn = out ? maker(out->inputs[0], "Transpose") : nullptr;
    const Node* in = turn ? maker(turn->inputs[0], "Reshape") : nullptr;
    const Node* heads = in ? maker(in->inputs[0], "Transpose") : nullptr;
    const Node* split = heads ? maker(heads->inputs[0], "Reshape") : nullptr;
    if (!split || turn->integers("perm") != std::vector<int64_t>{0, 2, 1} || heads->integers("perm") != std::vector<int64_t>{0, 2, 1, 3}) return std::nullopt;
    const std::vector<int64_t> from = whole_numbers(split->inputs[1]), three = whole_numbers(in->inputs[1]), four = whole_numbers(out->inputs[1]);
    if (from.size() != 4 || three.size() != 3 || four.size() != 4) return std::nullopt;
    const int64_t length = from[1], count = from[2], depth = from[3];
    const bool fits = length > 0 && count > 0 && depth > 0 && three[1] == length && three[2] == depth && four[1] == count &&
                      four[2] == depth && four[3] == length;
    return fits ? std::optional(in->inputs[0]) : std::nullopt;
  }

  Operand operand(int value) const {
    Operand found;
    found.value = value;
    while (const auto inner = scaled(found.value, found.scale)) found.value = *inner;
    if (const auto inner = rounded(found.value, found.rounding)) found.value = *inner;
    for (int step = 0; step < 4; ++step) {
      std::vector<int64_t> perm{0, 1, 3, 2};
      auto inner = exchanged(found.value);
      if (!inner) {
        const Node* turn = maker(found.value, "Transpose");
        const auto given = turn ? permutation(*turn) : std::nullopt;
        if (!given) break;
        perm = *given;
        inner = turn->inputs[0];
      }
      for (int64_t& d : found.perm) d = perm[static_cast<size_t>(d)];
      found.value = *inner;
      found.is_4d = true;
    }
    return found;
  }

  // The softmax's argument: scale times a product, plus a mask.
  struct Scores {
    const Node* product = nullptr;
    int mask = kAbsent;
    double scale = 1;
    Rounding rounding;
  };

  Scores scores_without_mask(int value) const {
    Scores found;
    while (const auto inner = scaled(value, found.scale)) value = *inner;
    if (const auto inner = rounded(value, found.rounding)) value = *inner;
    found.product = maker(value, "MatMul");
    return found;
  }

  Scores scores(int value) const {
    const Node* sum = maker(value, "Add");
    if (!sum) return scores_without_mask(value);
    for (size_t side = 0; side < 2; ++side) {
      Scores found = scores_without_mask(sum->inputs[side]);
      found.mask = sum->inputs[1 - side];
      if (found.product) return found;
    }
    return {};
  }

  // s where value = s with zero for NaN.
  std::optional<int> without_nan(int value) const {
    const Node* choice = maker(value, "Where");
    const Node* test = choice ? maker(choice->inputs[0], "IsNaN") : nullptr;
    if (!test || number(choice->inputs[1]) != 0.0 || test->inputs[0] != choice->inputs[2]) return std::nullopt;
    return choice->inputs[2];
  }

  // What the weights are made of: softmax, NaN replaced, rounded.
  const Node* softmax(int value, Rounding& rounding, bool& replaces_nan) const {
    if (const auto inner = rounded(value, rounding)) value = *inner;
    const auto inner = without_nan(value);
    replaces_nan = inner.has_value();
    const Node* node = maker(inner.value_or(value), "Softmax");
    const int64_t axis = node ? node->integer("axis", -1) : 0;
    return model_.opset >= 13 && (axis == -1 || axis == 3) ? node : nullptr;
  }

  // The node whose place attention takes: the product, or the transposition (and rounding) behind it.
  size_t result_of(size_t product, Rounding& rounding, bool& transposed) const {
    size_t last = product;
    if (const auto forth = reader(model_.nodes[last].outputs[0], "QuantizeLinear")) {
      const auto back = reader(model_.nodes[*forth].outputs[0], "DequantizeLinear");
      if (back && rounded(model_.nodes[*back].outputs[0], rounding)) last = *back;
    }
    const auto turn = reader(model_.nodes[last].outputs[0], "Transpose");
    transposed = turn && model_.nodes[*turn].integers("perm") == std::vector<int64_t>{0, 2, 1, 3};
    return transposed ? *turn : last;
  }

  void attention(size_t index) {
    std::array<Rounding, kAttentionPlaces> places;
    const auto at = [&](AttentionPlace place) -> Rounding& { return places[static_cast<size_t>(place)]; };
    bool replaces_nan = false, transposed = false;
    const Node* weights = softmax(model_.nodes[index].inputs[0], at(AttentionPlace::weights), replaces_nan);
    const Scores found = weights ? scores(weights->inputs[0]) : Scores{};
    if (!found.product || found.mask == weights->outputs[0]) return;
    const Operand q = operand(found.product->inputs[0]), k = operand(found.product->inputs[1]), v = operand(model_.nodes[index].inputs[1]);
    if (!q.is_4d || !k.is_4d || !v.is_4d || v.scale != 1) return;
    at(AttentionPlace::q) = q.rounding;
    at(AttentionPlace::k) = k.rounding;
    at(AttentionPlace::v) = v.rounding;
    at(AttentionPlace::scores) = found.rounding;
    const size_t last = result_of(index, at(AttentionPlace::output), transposed);
    // A scale before the scores are rounded is another thing than one after.
    const double inside = q.scale * k.scale;
    if (inside != 1 && found.rounding.scale != 0) return;
    std::vector<float> rounding;
    for (const Rounding& r : places) rounding.insert(rounding.end(), {r.scale, r.zero, r.low, r.high});
    Node& node = model_.nodes[last];
    node = {"gossamer.Attention", model_.nodes[index].name, {q.value, k.value, v.value}, node.outputs,
            {{"q_perm", q.perm}, {"k_perm", k.perm}, {"v_perm", v.perm}, {"transposed", int64_t{transposed}},
             {"scale", static_cast<float>(inside * found.scale)}, {"replaces_nan", int64_t{replaces_nan}}, {"rounding", rounding}}};
    if (found.mask != kAbsent) node.inputs.push_back(found.mask);
  }

  Model& model_;
  std::map<int, size_t> producer_, reader_;
  std::map<int, int> uses_;
};

}  // namespace

void fuse_transformer_patterns(Model& model) {
  Fuser(model).run();
  remove_unneeded(model);
}

}  // namespace gossamer
