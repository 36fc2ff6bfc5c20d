#include "runtime/quantized_moves.h"

#include <optional>

#include "runtime/quantized_pattern.h"

namespace gossamer {
namespace {

class Mover {
 public:
  explicit Mover(Model& model) : model_(model), patterns_(model) {}

  // Behind the bytes' DequantizeLinear: what is made of it, one operator after the other.
  void dequantize_later() {
    std::vector<Node> nodes;
    std::map<int, Node> dequantizing;  // by what it writes
    for (const Node& node : model_.nodes) {
      const auto found = node.inputs.empty() ? dequantizing.end() : dequantizing.find(node.inputs[0]);
      if (node.op == "DequantizeLinear" && whole_bytes(node, node.inputs[0])) dequantizing[node.outputs[0]] = node;
      if (found == dequantizing.end() || !moves(node, found->second.inputs[0]) || only_quantized(node.outputs[0])) {
        nodes.push_back(node);
        continue;
      }
      Node moved = node, back = found->second;
      moved.inputs[0] = back.inputs[0];
      moved.outputs = {new_value(node.outputs[0], dtype(back.inputs[0]))};
      back.inputs[0] = moved.outputs[0];
      back.outputs = node.outputs;
      nodes.push_back(std::move(moved));
      nodes.push_back(back);
      dequantizing[back.outputs[0]] = std::move(back);
    }
    model_.nodes = std::move(nodes);
  }

  // In front of an operator whose only reader is a QuantizeLinear. From the end on, so that chains are passed at once.
  void quantize_earlier() {
    std::vector<Node> reversed;
    std::map<int, Node> quantizing;  // by what it reads
    for (size_t i = model_.nodes.size(); i-- > 0;) {
      const Node& node = model_.nodes[i];
      if (quantizes_moved(node)) {
        quantizing[node.inputs[0]] = node;
        continue;
      }
      const auto found = node.outputs.empty() ? quantizing.end() : quantizing.find(node.outputs[0]);
      if (found == quantizing.end()) {
        reversed.push_back(node);
        continue;
      }
      Node moved = node, forth = found->second;
      forth.inputs[0] = node.inputs[0];
      moved.outputs = forth.outputs;
      moved.inputs[0] = new_value(node.inputs[0], dtype(forth.outputs[0]));
      forth.outputs = {moved.inputs[0]};
      reversed.push_back(std::move(moved));
      if (quantizes_moved(forth)) quantizing[forth.inputs[0]] = std::move(forth);
      else reversed.push_back(std::move(forth));
    }
    model_.nodes.assign(reversed.rbegin(), reversed.rend());
  }

 private:
  DType dtype(int value) const { return model_.values[static_cast<size_t>(value)].dtype; }

  int new_value(int like, DType type) {
    const std::string name = model_.values[static_cast<size_t>(like)].name;
    model_.values.push_back({name, type});
    return static_cast<int>(model_.values.size()) - 1;
  }

  // A QuantizeLinear or DequantizeLinear with one constant scale; what it reads is no constant.
  bool whole_bytes(const Node& node, int x) const { return patterns_.quantization(node).has_value() && !model_.constant(x); }

  bool moves(const Node& node, int bytes) const {
    Node moved = node;
    moved.inputs[0] = bytes;
    return Patterns::moves_elements(node) && patterns_.takes(moved, dtype(bytes));
  }

  // Another step makes one move of a DequantizeLinear, the operator and a QuantizeLinear.
  bool only_quantized(int value) const {
    const auto reader = patterns_.only_reader(value);
    return reader && patterns_.node(*reader).op == "QuantizeLinear";
  }

  // A QuantizeLinear that may pass the operator that makes its input.
  bool quantizes_moved(const Node& node) const {
    if (node.op != "QuantizeLinear" || !whole_bytes(node, node.inputs[0]) || dtype(node.inputs[0]) != DType::float32) return false;
    const Node* maker = patterns_.producer(node.inputs[0]);
    if (!maker || !patterns_.only_reader(node.inputs[0]) || !moves(*maker, node.outputs[0])) return false;
    const Node* before = patterns_.producer(maker->inputs[0]);
    return !model_.constant(maker->inputs[0]) && !(before && before->op == "DequantizeLinear");
  }

  Model& model_;
  const Patterns patterns_;  // of the model as it was
};

}  // namespace

void move_bytes_instead(Model& model) {
  Mover(model).quantize_earlier();
  Mover(model).dequantize_later();
}

}  // namespace gossamer
