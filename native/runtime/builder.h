// Puts a Model together from names, checking that it is well formed. Every error is a ModelError or Unsupported.
#pragma once

#include <set>
#include <unordered_map>

#include "runtime/model.h"

namespace gossamer {

class ModelBuilder {
 public:
  void set_opset(int64_t version) { model_.opset = version; }
  void add_input(const std::string& name, const std::string& dtype, decltype(Port::shape) shape);
  void add_dense(const std::string& name, Tensor tensor, const std::string& note);
  // `codes`: of 1 or 2 bytes, one for each element.
  void add_codebook(const std::string& name, Shape shape, int code_bytes, const std::byte* codes, std::vector<float> centroids);
  void add_sparse(const std::string& name, Shape shape, SparseWeight weight);
  void add_node(const std::string& op, const std::string& name, const std::vector<std::string>& inputs,
                const std::vector<std::string>& outputs, std::map<std::string, Attribute, std::less<>> attributes);
  void add_output(const std::string& name);

  // What is added between these two belongs to a subgraph, the value of an attribute of a node added afterwards.
  // Its names are unknown outside of it.
  void open_subgraph(const std::vector<std::string>& inputs);
  std::shared_ptr<Subgraph> close_subgraph(const std::vector<std::string>& outputs);

  // The model. The builder is empty afterwards.
  Model take();

 private:
  int define(const std::string& name, DType dtype);
  int find(const std::string& name, const std::string& where);
  void add_captures(Node& node);

  // A subgraph under construction: what it holds, its names, the values from outside that it reads.
  struct Scope {
    std::shared_ptr<Subgraph> graph;
    int first_value;
    std::vector<std::string> names;
    std::set<int> captures;
  };

  Model model_;
  std::vector<Scope> scopes_;  // innermost last
  std::map<const Subgraph*, std::set<int>> captures_;
  std::unordered_map<std::string, int> values_;
};

}  // namespace gossamer
