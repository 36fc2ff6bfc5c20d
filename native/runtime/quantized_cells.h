// Replacing the steps of a quantized network one after the other, and which of its tensors exist in cells.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "runtime/quantized_pattern.h"
#include "runtime/tensor.h"

namespace gossamer {

// A quantized tensor in cells (kernels/cells/cells.h): the value, the tensor's channels and dimensions, and where the
// step stands that makes it.
struct InCells {
  int value;
  int64_t channels;
  size_t rank;
  size_t node;
};

// A quantized tensor that exists in cells, as a float operator reads it.
struct CellTensor : QuantizedTensor {
  InCells in_cells;
};

// A quantized tensor that is another one with zeros around its pixels: begin and end of each spatial dimension.
struct Padded {
  QuantizedTensor inner;
  std::vector<int64_t> pads;
};

class CellRewriter {
 public:
  CellRewriter(Model& model, Isa isa) : isa(isa), patterns(model), model_(model), absorbed_(model.nodes.size()) {}

  const Isa isa;
  const Patterns patterns;

  const Model& model() const { return model_; }
  std::string name_of(int value) const { return model_.values[static_cast<size_t>(value)].name; }
  int new_value(const std::string& name, DType dtype);
  int new_cells(const std::string& name);  // a value of bytes in cells
  template <class Element>
  int new_constant(const std::string& name, DType dtype, Shape shape, const std::vector<Element>& values) {
    const int value = new_value(name, dtype);
    Tensor tensor = make_tensor(dtype, std::move(shape));
    std::copy(values.begin(), values.end(), tensor.as<Element>());
    model_.constants[value].dense = std::move(tensor);
    return value;
  }

  // Writes a step; its number, for erase() and made().
  size_t emit(Node node);
  const Node& made(size_t node) const { return out_[node]; }
  void erase(size_t node) { erased_[node] = true; }
  bool is_absorbed(size_t index) const { return absorbed_[index]; }
  void absorb(const std::vector<size_t>& nodes);
  // Puts the steps that were written in place of the model's own.
  void finish();

  // The quantized tensor q in cells; made from what q is made from if it is not in cells yet.
  int cells(int q, const Quantization& quantization, int64_t channels, size_t rank);
  // The quantized tensor q is what `node` writes in cells; its plain form exists for those who need it.
  void define(int q, const Quantization& quantization, int64_t channels, size_t rank, Node node);
  // What an operator reads in cells, where they exist already.
  std::optional<CellTensor> cell_tensor(int value) const;
  std::optional<InCells> in_cells(int q) const;
  void note_padded(int q, Padded padded) { padded_[q] = std::move(padded); }
  const Padded* padded(int q) const {
    const auto at = padded_.find(q);
    return at == padded_.end() ? nullptr : &at->second;
  }

 private:
  Model& model_;
  std::vector<Node> out_;
  std::vector<bool> erased_, absorbed_;
  std::map<int, InCells> in_cells_;
  std::map<int, Padded> padded_;
};

// Sums, products, maxima, means, concatenation and functions of one element: true where a step took the node's place.
bool rewrite_map(CellRewriter& r, const Node& node);

}  // namespace gossamer
