#include "runtime/builder.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "runtime/coded_weight.h"
#include "runtime/errors.h"
#include "runtime/op.h"

namespace gossamer {
namespace {

constexpr size_t kMostNested = 16;

int64_t largest_code(int code_bytes, const std::byte* codes, int64_t count) {
  int64_t largest = -1;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t code = code_bytes == 1 ? reinterpret_cast<const uint8_t*>(codes)[i] : reinterpret_cast<const uint16_t*>(codes)[i];
    largest = code > largest ? code : largest;
  }
  return largest;
}

void check_codes(const std::string& name, int code_bytes, const std::byte* codes, int64_t count, size_t centroids) {
  if (largest_code(code_bytes, codes, count) >= static_cast<int64_t>(centroids)) {
    throw ModelError("weight '" + name + "': an index is beyond its " + std::to_string(centroids) + " centroids");
  }
}

}  // namespace

int ModelBuilder::define(const std::string& name, DType dtype) {
  const int value = static_cast<int>(model_.values.size());
  if (!values_.emplace(name, value).second) throw ModelError("the name '" + name + "' is defined twice");
  if (!scopes_.empty()) scopes_.back().names.push_back(name);
  model_.values.push_back({name, dtype});
  return value;
}

int ModelBuilder::find(const std::string& name, const std::string& where) {
  const auto at = values_.find(name);
  if (at == values_.end()) throw ModelError(where + " reads '" + name + "', which nothing before it defines");
  for (Scope& scope : scopes_) {
    if (at->second < scope.first_value) scope.captures.insert(at->second);
  }
  return at->second;
}

void ModelBuilder::add_input(const std::string& name, const std::string& dtype, decltype(Port::shape) shape) {
  const auto type = dtype_from_name(dtype);
  if (!type) {
    throw Unsupported("input '" + name + "' is " + dtype + "; " + dtype_names() + " are supported");
  }
  model_.inputs.push_back({define(name, *type), *type, std::move(shape)});
}

void ModelBuilder::add_dense(const std::string& name, Tensor tensor, const std::string& note) {
  const DType dtype = tensor.dtype;
  model_.constants[define(name, dtype)] = {std::move(tensor), {}, note};
}

void ModelBuilder::add_codebook(const std::string& name, Shape shape, int code_bytes, const std::byte* codes,
                                std::vector<float> centroids) {
  const int64_t count = element_count(shape);
  check_codes(name, code_bytes, codes, count, centroids.size());
  const int bits = std::max(1, static_cast<int>(std::bit_width(centroids.empty() ? size_t{0} : centroids.size() - 1)));
  const auto code = [&](int64_t i) -> uint16_t {
    return code_bytes == 1 ? reinterpret_cast<const uint8_t*>(codes)[i] : reinterpret_cast<const uint16_t*>(codes)[i];
  };
  CodedWeight weight{make_codes(count, bits, code), std::move(centroids), {}, {}, {}};
  model_.constants[define(name, DType::float32)] = {{DType::float32, std::move(shape), {}}, std::move(weight), ""};
}

void ModelBuilder::add_sparse(const std::string& name, Shape shape, SparseWeight weight) {
  const auto kept = static_cast<int64_t>(weight.positions.size());
  int64_t before = -1;
  for (const int64_t position : weight.positions) {
    if (position <= before) throw ModelError("weight '" + name + "': positions do not increase");
    before = position;
  }
  if (before >= element_count(shape)) throw ModelError("weight '" + name + "': a position is outside " + shape_text(shape));
  if (weight.code_bytes) check_codes(name, weight.code_bytes, weight.codes.get(), kept, weight.values.size());
  else if (static_cast<int64_t>(weight.values.size()) != kept) throw ModelError("weight '" + name + "': not one value per position");
  model_.constants[define(name, DType::float32)] = {{DType::float32, std::move(shape), {}}, std::move(weight), ""};
}

void ModelBuilder::add_node(const std::string& op, const std::string& name, const std::vector<std::string>& inputs,
                            const std::vector<std::string>& outputs,
                            std::map<std::string, Attribute, std::less<>> attributes) {
  Node node{op, name, {}, {}, std::move(attributes), 0};
  if (op.starts_with(kInternal)) throw Unsupported(node.label() + ": no such operator");
  for (const std::string& input : inputs) node.inputs.push_back(input.empty() ? kAbsent : find(input, node.label()));
  while (!node.inputs.empty() && node.inputs.back() == kAbsent) node.inputs.pop_back();
  add_captures(node);
  for (const std::string& output : outputs) {
    node.outputs.push_back(output.empty() ? kAbsent : define(output, DType::float32));
  }
  (scopes_.empty() ? model_.nodes : scopes_.back().graph->nodes).push_back(std::move(node));
}

void ModelBuilder::add_captures(Node& node) {
  std::set<int> captures;
  for (const auto& [key, value] : node.attributes) {
    if (const auto* graph = std::get_if<std::shared_ptr<Subgraph>>(&value)) captures.merge(captures_[graph->get()]);
  }
  node.captured = captures.size();
  node.inputs.insert(node.inputs.end(), captures.begin(), captures.end());
}

void ModelBuilder::open_subgraph(const std::vector<std::string>& inputs) {
  if (scopes_.size() >= kMostNested) throw ModelError("subgraphs are nested more than " + std::to_string(kMostNested) + " deep");
  scopes_.push_back({std::make_shared<Subgraph>(), static_cast<int>(model_.values.size()), {}, {}});
  for (const std::string& input : inputs) scopes_.back().graph->inputs.push_back(define(input, DType::float32));
}

std::shared_ptr<Subgraph> ModelBuilder::close_subgraph(const std::vector<std::string>& outputs) {
  if (scopes_.empty()) throw ModelError("a subgraph ends that did not begin");
  for (const std::string& output : outputs) scopes_.back().graph->outputs.push_back(find(output, "a subgraph's output"));
  Scope scope = std::move(scopes_.back());
  scopes_.pop_back();
  for (const std::string& name : scope.names) values_.erase(name);
  captures_[scope.graph.get()] = std::move(scope.captures);
  return scope.graph;
}

void ModelBuilder::add_output(const std::string& name) { model_.outputs.push_back(find(name, "the program's output")); }

Model ModelBuilder::take() {
  if (!scopes_.empty()) throw ModelError("a subgraph does not end");
  values_.clear();
  captures_.clear();
  return std::exchange(model_, Model{});
}

}  // namespace gossamer
