#include "runtime/quantized_cells.h"

namespace gossamer {

int CellRewriter::new_value(const std::string& name, DType dtype) {
  model_.values.push_back({name, dtype});
  return static_cast<int>(model_.values.size()) - 1;
}

int CellRewriter::new_cells(const std::string& name) {
  model_.values.push_back({name, DType::uint8, true});
  return static_cast<int>(model_.values.size()) - 1;
}

size_t CellRewriter::emit(Node node) {
  out_.push_back(std::move(node));
  erased_.push_back(false);
  return out_.size() - 1;
}

void CellRewriter::absorb(const std::vector<size_t>& nodes) {
  for (const size_t node : nodes) absorbed_[node] = true;
}

void CellRewriter::finish() {
  for (size_t i = 0; i < erased_.size(); ++i) {
    if (erased_[i]) out_[i].op.clear();
  }
  std::erase_if(out_, [](const Node& node) { return node.op.empty(); });
  model_.nodes = std::move(out_);
}

int CellRewriter::cells(int q, const Quantization& quantization, int64_t channels, size_t rank) {
  if (const auto at = in_cells(q)) return at->value;
  const int value = new_cells(name_of(q));
  const auto maker = patterns.producer_index(q);
  // Where an integer operator has taken the QuantizeLinear over, what it read does not exist any more.
  if (maker && !is_absorbed(*maker) && patterns.node(*maker).op == "QuantizeLinear" && patterns.quantization(patterns.node(*maker))) {
    const Node& quantize = patterns.node(*maker);
    emit({"gossamer.Quantize", quantize.name, {quantize.inputs[0]}, {value},
          {{"channels", channels}, {"scale", quantization.scale}, {"zero", quantization.zero}}});
  } else {
    emit({"gossamer.ToCells", name_of(q), {q}, {value}, {{"channels", channels}, {"signed", int64_t{quantization.is_signed}}}});
  }
  in_cells_[q] = {value, channels, rank, out_.size() - 1};
  return value;
}

void CellRewriter::define(int q, const Quantization& quantization, int64_t channels, size_t rank, Node node) {
  const int value = new_cells(name_of(q));
  node.outputs = {value};
  in_cells_[q] = {value, channels, rank, emit(std::move(node))};
  emit({"gossamer.ToBytes", name_of(q), {value}, {q}, {{"channels", channels}, {"signed", int64_t{quantization.is_signed}}}});
}

std::optional<InCells> CellRewriter::in_cells(int q) const {
  const auto at = in_cells_.find(q);
  return at == in_cells_.end() ? std::nullopt : std::optional(at->second);
}

std::optional<CellTensor> CellRewriter::cell_tensor(int value) const {
  const auto x = patterns.quantized(value);
  const auto at = x ? in_cells(x->value) : std::nullopt;
  return at ? std::optional(CellTensor{*x, *at}) : std::nullopt;
}

}  // namespace gossamer
