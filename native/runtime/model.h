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

// Weight sharing: element i is centroids[codes[i]].
struct CodebookWeight {
  int code_bytes = 1;  // 1 or 2
  std::shared_ptr<std::byte[]> codes;
  std::vector<float> centroids;
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
  std::variant<std::monostate, CodebookWeight, SparseWeight> compressed;
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
