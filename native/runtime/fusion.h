// Which nodes run together as one step.
#pragma once

#include "runtime/analysis.h"

namespace gossamer {

struct FusedNode {
  const Node* node;
  Epilogue epilogue;
  std::vector<const Node*> chain;  // nodes after it that belong to the step, each reading the one before
  int result;  // the value that the step writes

  std::vector<int> reads() const;  // the values from outside
};

// The nodes that the outputs need and whose outputs are not known, in order. A Conv, Gemm or MatMul takes in the bias, the
// residual and the clamp (Relu, Clip) that follow it, where nothing else reads what lies between; functions of elements that follow one another
// are one step (element_chain.h), and so are a depthwise and a pointwise convolution whose tensor between them is large.
std::vector<FusedNode> fuse(const Model& model, const Analysis& analysis);

}  // namespace gossamer
