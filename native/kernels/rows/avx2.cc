#if defined(__x86_64__)
#include "kernels/simd/avx2.h"

#include "kernels/rows/body.h"

namespace gossamer {
void softmax_avx2(const SoftmaxArgs& args) { ::softmax(args); }
void reduce_avx2(const ReduceArgs& args) { ::reduce(args); }
void layer_norm_avx2(const LayerNormArgs& args) { ::layer_norm(args); }
}  // namespace gossamer
#endif
