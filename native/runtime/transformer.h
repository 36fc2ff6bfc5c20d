// What transformers are made of, recognized in the small operators that exporters write it in.
#pragma once

#include "runtime/model.h"

namespace gossamer {

// Puts one node in the place of several:
//   x (1 + erf(x / sqrt 2)) / 2, and its form with tanh, in any order of the factors: Gelu;
//   (x - mean) / sqrt(variance + epsilon) * scale + shift along the last dimension: LayerNormalization;
//   softmax(Q K^T scale + mask) V with the transpositions around it: gossamer.Attention (op_attention.cc).
// Then removes the nodes that nothing needs any more.
void fuse_transformer_patterns(Model& model);

}  // namespace gossamer
