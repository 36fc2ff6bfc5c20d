// What happens to a model once, before it is planned for any shape.
#pragma once

#include "runtime/model.h"
#include "runtime/op.h"

namespace gossamer {

// Checks every node (operator, attributes, number and types of inputs), computes what depends on constants alone, folds
// batch normalization into the convolution before it, and decodes compressed weights that no kernel reads as they are.
// ModelError or Unsupported, naming the node.
void prepare(Model& model, Isa isa);

// The contents of the outputs of a node all of whose inputs are known (or whose shapes suffice: Shape, Size).
std::vector<Tensor> evaluate(const Model& model, const Node& node, const std::vector<const ValueInfo*>& inputs, Isa isa);

}  // namespace gossamer
