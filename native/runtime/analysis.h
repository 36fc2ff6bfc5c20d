// The first half of planning: the shape of every value for given inputs, its content where that is known, and control flow
// written out as plain nodes.
#pragma once

#include <deque>

#include "runtime/errors.h"
#include "runtime/op.h"

namespace gossamer {

// One input of the network: its shape, and its content where the plan may depend on it.
struct InputValue {
  Shape shape;
  std::shared_ptr<const std::byte[]> content;
};

struct Analysis {
  std::vector<const Node*> nodes;  // in order, none of them If, Loop or Scan
  std::deque<Node> made;  // those of `nodes` that are not the model's
  std::vector<ValueInfo> infos;  // by value; those behind the model's are of made nodes
  std::vector<int> roots;  // the value whose memory each value uses
  std::vector<std::shared_ptr<const void>> kept_alive;  // contents computed on the way
};

// A shape, a branch or a number of iterations depends on the content of these inputs of the network. Unsupported where
// nobody can give it.
struct NeedsInputs : Unsupported {
  NeedsInputs(const std::string& message, std::vector<size_t> which) : Unsupported(message), inputs(std::move(which)) {}
  std::vector<size_t> inputs;
};

Analysis analyse(const Model& model, const std::vector<InputValue>& inputs, Isa isa);

}  // namespace gossamer
