#include "kernels/simd/portable.h"

#include "kernels/rows/body.h"

namespace gossamer {
void softmax_portable(const SoftmaxArgs& args) { ::softmax(args); }
void reduce_portable(const ReduceArgs& args) { ::reduce(args); }
void layer_norm_portable(const LayerNormArgs& args) { ::layer_norm(args); }
}  // namespace gossamer
