// The program as the engine holds it: values by number, nodes in topological order, constants.
#pragma once

#include <map>
#include <string>
#include <variant>
#include <vector>

#include "runtime/tensor.h"

namespace gossamer {

// A dense tensor whose content is known before running.
struct Tensor {
  DType dtype = DType::float32;
  Shape shape;
  std::shared_ptr<std::byte[]> data;

  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data.get());
  }
};

Tensor make_tensor(DType dtype, Shape shape);

// Numbers of 1 to 16 bits, 32 / bits of them in a word of 32, the first one lowest.
struct Codes {
  int bits = 8;
  std::shared_ptr<std::byte[]> words;

  uint32_t at(int64_t i) const {
    const int64_t per_word = 32 / bits;
    const uint32_t word = reinterpret_cast<const uint32_t*>(words.get())[i / per_word];
    return word >> i % per_word * bits & ((1u << bits) - 1);
  }
};

// Which scale goes with which element: the tensor is outer x n x inner, and element (o, i, j) has scale number
// o scale_outer + (i / block) scale_step + j scale_inner.
struct ScaleLayout {
  int64_t outer = 1, n = 1, inner = 1;
  int64_t block = 1, scale_outer = 0, scale_step = 0, scale_inner = 0;

  int64_t number(int64_t element) const {
    return element / inner / n * scale_outer + element / inner % n / block * scale_step + element % inner * scale_inner;
  }
};

// Weight sharing or affine quantization: element i is s(i) centroids[code], or s(i) (code - z(i)).
struct CodedWeight {
  Codes codes;
  std::vector<float> centroids;  // empty: a code is a number
  std::vector<float> scales;  // empty: 1
  std::vector<uint8_t> zeros;  // one for each scale, or a single one; empty: 0
  ScaleLayout layout;
};

// Pruning: element positions[i] (row-major, increasing) is values[i], or values[codes[i]]; all others are zero.
struct SparseWeight {
  std::vector<int64_t> positions;
  std::vector<float> values;  // with codes: the centroids
  int code_bytes = 0;  // 0: no codes
  std::shared_ptr<std::byte[]> codes;
};

// A weight. `dense.data` is empty while only the compressed form exists; decoding fills it in.
struct Constant {
  Tensor dense;
  std::variant<std::monostate, CodedWeight, SparseWeight> compressed;
  std::string note;  // why it is not in the representation it had in the file, for explain()

  bool is_compressed() const { return compressed.index() != 0; }
};

void decode(Constant& constant);

struct Subgraph;

using Attribute = std::variant<int64_t, float, std::string, std::vector<int64_t>, std::vector<float>,
                               std::vector<std::string>, Tensor, std::shared_ptr<Subgraph>>;

inline constexpr int kAbsent = -1;

struct Node {
  std::string op, name;
  std::vector<int> inputs, outputs;  // value numbers, or kAbsent
  std::map<std::string, Attribute, std::less<>> attributes;
  size_t captured = 0;  // how many of the inputs, at the end, are values that only its subgraphs read
  std::string note{};  // why a rewriting of the model left it alone, for explain()

  std::string label() const;  // "Conv 'conv1'", for messages
  bool has_input(size_t i) const { return i < inputs.size() && inputs[i] != kAbsent; }
  const Attribute* find(std::string_view name) const;
  // The attribute's value, or `otherwise` where it is absent; ModelError where it has another type.
  int64_t integer(std::string_view name, int64_t otherwise) const;
  float real(std::string_view name, float otherwise) const;
  std::string text(std::string_view name, std::string otherwise) const;
  std::vector<int64_t> integers(std::string_view name) const;
  Subgraph* subgraph(std::string_view name) const;  // null: it has none
};

// The body of If, Loop or Scan. Its values are numbered with the model's, its constants are the model's.
struct Subgraph {
  std::vector<int> inputs, outputs;
  std::vector<Node> nodes;
};

struct Value {
  std::string name;
  DType dtype = DType::float32;
  bool in_cells = false;  // (batch, ceil(C / 4), sizes ..., 4) as kernels/cells/cells.h has it; else row by row
};

struct Port {
  int value = kAbsent;
  DType dtype = DType::float32;
  std::optional<std::vector<std::variant<std::monostate, int64_t, std::string>>> shape;  // nothing: any rank
};

struct Model {
  std::vector<Value> values;
  std::vector<Node> nodes;
  std::map<int, Constant> constants;  // by value number
  std::vector<Port> inputs;
  std::vector<int> outputs;
  int64_t opset = 17;

  const Constant* constant(int value) const;
};

// Takes out the nodes whose results nothing needs.
void remove_unneeded(Model& model);

}  // namespace gossamer
