#include "runtime/fusion.h"

#include <algorithm>
#include <limits>
#include <set>

#include "runtime/depthwise_pointwise.h"
#include "runtime/element_chain.h"
#include "runtime/integer_product.h"

namespace gossamer {
namespace {

class Fuser {
 public:
  Fuser(const Model& model, const Analysis& analysis)
      : model_(model), nodes_(analysis.nodes), infos_(analysis.infos), roots_(analysis.roots), needed_(nodes_.size(), false),
        absorbed_(nodes_.size(), false) {
    find_needed();
  }

  std::vector<FusedNode> run() {
    std::vector<FusedNode> steps;
    for (const Port& input : model_.inputs) ready_.insert(input.value);
    for (size_t i = 0; i < nodes_.size(); ++i) {
      const Node& node = *nodes_[i];
      if (!needed_[i] || absorbed_[i] || !find_operator(node.op)->build) continue;
      FusedNode fused{&node, {}, {}, node.outputs[0]};
      if (find_operator(node.op)->fusion == Fusion::elements) extend_chain(fused);
      else if (may_extend(node)) extend(fused);
      else if (node.op == "MatMulInteger") extend_integers(fused);
      else if (node.op == "gossamer.Conv") extend_depthwise(fused);
      for (const int value : node.outputs) ready_.insert(value);
      ready_.insert(fused.result);
      steps.push_back(std::move(fused));
    }
    return steps;
  }

 private:
  const ValueInfo& info(int value) const { return infos_[static_cast<size_t>(value)]; }

  void find_needed() {
    std::set<int> wanted(model_.outputs.begin(), model_.outputs.end());
    for (const int value : model_.outputs) ++uses_[value];
    for (size_t i = nodes_.size(); i-- > 0;) {
      const Node& node = *nodes_[i];
      bool needed = false;
      for (const int value : node.outputs) needed = needed || (value != kAbsent && wanted.count(value) && !info(value).known);
      if (!needed) continue;
      needed_[i] = true;
      for (const int value : node.inputs) {
        wanted.insert(value);
        ++uses_[value];
        reader_[value] = i;
      }
    }
  }

  // The one node that reads a value which nothing else needs.
  const Node* only_reader(int value, size_t& index) const {
    const auto uses = uses_.find(value);
    const auto reader = reader_.find(value);
    if (uses == uses_.end() || uses->second != 1 || reader == reader_.end()) return nullptr;
    index = reader->second;
    return nodes_[index];
  }

  bool may_extend(const Node& node) const {
    if (find_operator(node.op)->fusion == Fusion::none || node.outputs.size() != 1) return false;
    // Of the many forms of a DequantizeLinear, the kernel's: bytes with one scale.
    return node.op != "DequantizeLinear" || (dtype_size(info(node.inputs[0]).dtype) == 1 && element_count(info(node.inputs[1]).shape) == 1 &&
                                             info(node.inputs[1]).dtype == DType::float32);
  }

  void extend(FusedNode& fused) {
    const bool affine = find_operator(fused.node->op)->fusion == Fusion::affine;
    size_t next = 0;
    while (const Node* reader = only_reader(fused.result, next)) {
      if (info(fused.result).dtype != DType::float32) return;
      const bool added = affine && reader->op == "Add" && add(fused, *reader);
      const bool clamped = !added && clamp(fused, *reader);
      if (!added && !clamped) return;
      take(fused, next);
      if (clamped) return;
    }
  }

  void extend_chain(FusedNode& fused) {
    const ChainRule rule{infos_};
    std::vector<const Node*> nodes = {fused.node};
    size_t next = 0;
    if (!rule.starts(*fused.node)) return;
    while (const Node* reader = only_reader(fused.result, next)) {
      if (find_operator(reader->op)->fusion != Fusion::elements || !rule.continues(nodes, *reader)) break;
      const auto there = [&](int value) { return value == kAbsent || value == fused.result || is_ready(value); };
      if (!std::all_of(reader->inputs.begin(), reader->inputs.end(), there)) break;
      nodes.push_back(reader);
      take(fused, next);
    }
    fused.chain.assign(nodes.begin() + 1, nodes.end());
  }

  // --- products of bytes: + int32 bias of each column, Requantize to bytes ----------------------------------------------

  std::vector<const ValueInfo*> infos_of(const Node& node) const {
    std::vector<const ValueInfo*> all;
    for (const int value : node.inputs) all.push_back(value == kAbsent ? nullptr : &info(value));
    return all;
  }

  void extend_integers(FusedNode& fused) {
    const std::vector<const ValueInfo*> inputs = infos_of(*fused.node);
    if (!has_integer_product(*fused.node, model_, inputs)) return;
    size_t next = 0;
    const Node* reader = only_reader(fused.result, next);
    if (reader && reader->op == "Add" && add_integers(fused, *reader)) {
      take(fused, next);
      reader = only_reader(fused.result, next);
    }
    if (reader && reader->op == "gossamer::Requantize" && may_requantize(inputs) && requantize(fused, *reader)) take(fused, next);
  }

  // --- depthwise and pointwise convolutions of bytes in cells --------------------------------------------------------------

  void extend_depthwise(FusedNode& fused) {
    size_t next = 0;
    const Node* reader = only_reader(fused.result, next);
    const ValueInfo& between = info(fused.result);
    if (!reader || !is_depthwise(*fused.node) || !is_pointwise(*reader) || reader->inputs[0] != fused.result) return;
    if (between.shape.size() != 5 || !is_worth_strips(element_count(between.shape) / std::max<int64_t>(1, between.shape[0]))) return;
    if (reader->has_input(5) && (!is_ready(reader->inputs[5]) || info(reader->inputs[5]).shape != info(reader->outputs[0]).shape)) return;
    fused.chain = {reader};
    take(fused, next);
  }

  bool is_depthwise(const Node& node) const {
    const Shape& w = info(node.inputs[1]).shape;
    return w.size() == 4 && w[1] == 1 && node.integer("group", 1) == w[0] && !node.has_input(5) && !node.integer("float_out", 0);
  }

  bool is_pointwise(const Node& node) const {
    if (node.op != "gossamer.Conv" || node.integer("group", 1) != 1 || node.integer("float_out", 0)) return false;
    const auto all = [&](const char* name, int64_t value) {
      const std::vector<int64_t> given = node.integers(name);
      return std::all_of(given.begin(), given.end(), [&](int64_t v) { return v == value; });
    };
    const Shape& w = info(node.inputs[1]).shape;
    return w.size() == 4 && w[2] == 1 && w[3] == 1 && all("strides", 1) && all("pads", 0);
  }

  void take(FusedNode& fused, size_t index) {
    fused.epilogue.fused.push_back(nodes_[index]->op);
    fused.result = nodes_[index]->outputs[0];
    absorbed_[index] = true;
  }

  bool add_integers(FusedNode& fused, const Node& node) const {
    const int other = node.inputs[0] == fused.result ? node.inputs[1] : node.inputs[0];
    const Shape &shape = info(other).shape, &out = info(fused.result).shape;
    if (other == fused.result || !info(other).known || info(node.outputs[0]).shape != out) return false;
    if (shape.empty() || shape.back() != out.back() || element_count(shape) != out.back()) return false;
    fused.epilogue.bias = other;
    return true;
  }

  // An int32 number of a constant byte, or 0 where it is absent.
  int32_t byte_of(const Node& node, size_t i) const {
    if (!node.has_input(i)) return 0;
    const ValueInfo& zero = info(node.inputs[i]);
    return zero.dtype == DType::int8 ? *reinterpret_cast<const int8_t*>(zero.known) : *reinterpret_cast<const uint8_t*>(zero.known);
  }

  bool requantize(FusedNode& fused, const Node& node) const {
    const DType to = info(node.outputs[0]).dtype;
    if (node.inputs[0] != fused.result || node.has_input(4) || (to != DType::int8 && to != DType::uint8)) return false;
    for (size_t i = 1; i < 4; ++i) {
      if (node.has_input(i) && !info(node.inputs[i]).known) return false;
    }
    const auto *multiplier = reinterpret_cast<const int32_t*>(info(node.inputs[1]).known), *shift = reinterpret_cast<const int32_t*>(info(node.inputs[2]).known);
    const int64_t count = element_count(info(node.inputs[2]).shape), rank = static_cast<int64_t>(info(fused.result).shape.size());
    if (std::any_of(shift, shift + count, [](int32_t s) { return s < -31 || s > 31; })) return false;
    const int64_t axis = node.integer("axis", 1), least = to == DType::int8 ? -128 : 0, most = least + 255;
    if (count != 1 && axis != -1 && axis != rank - 1) return false;
    const int64_t low = std::max(node.integer("low", least), least), high = std::min(node.integer("high", most), most);
    if (low > high) return false;
    fused.epilogue.requantization = {multiplier, shift, count != 1, byte_of(node, 3), static_cast<int32_t>(low), static_cast<int32_t>(high)};
    return true;
  }

  // ----------------------------------------------------------------------------------------------------------------------

  bool add(FusedNode& fused, const Node& node) const {
    const int other = node.inputs[0] == fused.result ? node.inputs[1] : node.inputs[0];
    Epilogue& epilogue = fused.epilogue;
    if (other == fused.result || info(node.outputs[0]).shape != info(fused.result).shape) return false;
    if (is_bias(fused, other)) {
      epilogue.bias = other;
      return true;
    }
    if (epilogue.residual != kAbsent || info(other).shape != info(fused.result).shape || !is_ready(other)) return false;
    epilogue.residual = other;
    return true;
  }

  bool is_ready(int value) const { return info(value).known || ready_.count(roots_[static_cast<size_t>(value)]); }

  // One number per channel: per column of a product, per output channel of a convolution.
  bool is_bias(const FusedNode& fused, int value) const {
    const bool has_bias = fused.node->op != "DequantizeLinear" && fused.node->has_input(2);
    if (fused.epilogue.bias != kAbsent || has_bias || !info(value).known) return false;
    const Shape &shape = info(value).shape, &out = info(fused.result).shape;
    const size_t behind = fused.node->op == "Conv" || fused.node->op == "gossamer.SignConv" ? out.size() - 2 : 0;  // dimensions after the channel
    if (out.size() < behind + 1 || shape.size() < behind + 1) return false;
    const int64_t channels = out[out.size() - 1 - behind];
    return shape[shape.size() - 1 - behind] == channels && element_count(shape) == channels;
  }

  bool clamp(FusedNode& fused, const Node& node) const {
    Epilogue& epilogue = fused.epilogue;
    if (node.op == "Relu") {
      epilogue.low = 0;
      return true;
    }
    if (node.op != "Clip" || node.inputs[0] != fused.result) return false;
    float bounds[2] = {node.real("min", epilogue.low), node.real("max", epilogue.high)};
    for (size_t i = 1; i < 3; ++i) {
      if (!node.has_input(i)) continue;
      const std::byte* known = info(node.inputs[i]).known;
      if (!known) return false;
      bounds[i - 1] = *reinterpret_cast<const float*>(known);
    }
    if (!(bounds[0] <= bounds[1])) return false;
    epilogue.low = bounds[0];
    epilogue.high = bounds[1];
    return true;
  }

  const Model& model_;
  const std::vector<const Node*>& nodes_;
  const std::vector<ValueInfo>& infos_;
  const std::vector<int>& roots_;
  std::vector<bool> needed_, absorbed_;
  std::map<int, int> uses_;
  std::map<int, size_t> reader_;
  std::set<int> ready_;
};

}  // namespace

std::vector<int> FusedNode::reads() const {
  std::vector<int> values = node->inputs;
  values.push_back(epilogue.bias);
  values.push_back(epilogue.residual);
  int previous = node->outputs[0];
  for (const Node* link : chain) {
    for (const int value : link->inputs) values.push_back(value == previous ? kAbsent : value);
    previous = link->outputs[0];
  }
  return values;
}

std::vector<FusedNode> fuse(const Model& model, const Analysis& analysis) { return Fuser(model, analysis).run(); }

}  // namespace gossamer
