#include "runtime/model.h"

#include <algorithm>
#include <set>

#include "runtime/errors.h"

namespace gossamer {
namespace {

template <class T>
T get(const Node& node, std::string_view name, T otherwise) {
  const Attribute* found = node.find(name);
  if (!found) return otherwise;
  if (const T* value = std::get_if<T>(found)) return *value;
  throw ModelError(node.label() + ": attribute '" + std::string(name) + "' has the wrong type");
}

}  // namespace

Tensor make_tensor(DType dtype, Shape shape) {
  const int64_t bytes = element_count(shape) * dtype_size(dtype);
  return {dtype, std::move(shape), allocate(bytes)};
}

std::string Node::label() const { return name.empty() ? op : op + " '" + name + "'"; }

const Attribute* Node::find(std::string_view key) const {
  const auto at = attributes.find(key);
  return at == attributes.end() ? nullptr : &at->second;
}

int64_t Node::integer(std::string_view key, int64_t otherwise) const { return get<int64_t>(*this, key, otherwise); }

float Node::real(std::string_view key, float otherwise) const {
  const Attribute* found = find(key);
  if (found && std::holds_alternative<int64_t>(*found)) return static_cast<float>(std::get<int64_t>(*found));
  return get<float>(*this, key, otherwise);
}

std::string Node::text(std::string_view key, std::string otherwise) const {
  return get<std::string>(*this, key, std::move(otherwise));
}

std::vector<int64_t> Node::integers(std::string_view key) const { return get<std::vector<int64_t>>(*this, key, {}); }

Subgraph* Node::subgraph(std::string_view key) const {
  return get<std::shared_ptr<Subgraph>>(*this, key, nullptr).get();
}

const Constant* Model::constant(int value) const {
  const auto at = constants.find(value);
  return at == constants.end() ? nullptr : &at->second;
}

void remove_unneeded(Model& model) {
  std::set<int> needed(model.outputs.begin(), model.outputs.end());
  std::vector<Node> kept;
  for (size_t i = model.nodes.size(); i-- > 0;) {
    Node& node = model.nodes[i];
    if (std::none_of(node.outputs.begin(), node.outputs.end(), [&](int v) { return v != kAbsent && needed.count(v); })) continue;
    for (const int value : node.inputs) needed.insert(value);
    kept.push_back(std::move(node));
  }
  std::reverse(kept.begin(), kept.end());
  model.nodes = std::move(kept);
}

}  // namespace gossamer
