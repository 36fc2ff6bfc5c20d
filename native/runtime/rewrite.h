// Operators that are written with others while loading.
#pragma once

#include "runtime/op.h"

namespace gossamer {

inline constexpr const char* kWholeMatMul = "gossamer.WholeMatMul";

// Every operator that only exists in this form.
std::span<const char* const> rewritten_operators();

// What to do in the place of `node`: itself, or nodes that mean the same. Types of its inputs are known.
//   Sum, Mean, Max and Min of any number of inputs: two at a time
//   MeanVarianceNormalization: (x - mean) / (standard deviation + 1e-9)
//   Upsample: Resize;  Scatter: ScatterElements;  CastLike: Cast
//   MatMul of integers: kWholeMatMul, which nothing is fused into
//   an operator of float32 on other floats: computed in float32, cast before and after; so are functions of elements and
//   reductions of float16
//   QLinearMatMul with scales of another float: with float32 scales
std::vector<Node> rewritten(Model& model, Node node);

}  // namespace gossamer
