#include "runtime/fusion.h"

#include <limits>
#include <set>

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
      FusedNode fused{&node, {}, node.outputs[0]};
      if (may_extend(node)) extend(fused);
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
      fused.epilogue.fused.push_back(reader->op);
      fused.result = reader->outputs[0];
      absorbed_[next] = true;
      if (clamped) return;
    }
  }

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

std::vector<FusedNode> fuse(const Model& model, const Analysis& analysis) { return Fuser(model, analysis).run(); }

}  // namespace gossamer
