// Functions of float32 elements one after the other, in one pass: some thousand elements go through all of them before the
// next ones are read, so what lies between stays in the first cache.
//   t[0] = f[0](operands), t[i] = f[i](t[i - 1], operands), y = the last t
// Operands broadcast to the shape of y, as ONNX has it.
#pragma once

#include "runtime/op.h"

namespace gossamer {

struct ChainRule {
  const std::vector<ValueInfo>& infos;  // by value

  // Whether the node computes float32 elements by a kernel.
  bool starts(const Node& node) const;
  // Whether the node that reads the last one's result may run with the nodes `before` it: it has their shape, and its
  // operands cut the rows no shorter than pays.
  bool continues(std::span<const Node* const> before, const Node& node) const;
};

// Of Build: node is the first one, chain has the others.
Step build_element_chain(Build& b);

}  // namespace gossamer
