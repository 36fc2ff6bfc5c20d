#include <cmath>

#include "kernels/rows/rows.h"

namespace gossamer {

const Row<void (*)(const SoftmaxArgs&)> kSoftmaxKernels[kRowCount] = GOSSAMER_ROWS("softmax", softmax);
const Row<void (*)(const ReduceArgs&)> kReduceKernels[kRowCount] = GOSSAMER_ROWS("reduce", reduce);
const Row<void (*)(const LayerNormArgs&)> kLayerNormKernels[kRowCount] = GOSSAMER_ROWS("layer_norm", layer_norm);

float natural_logarithm(float x) { return std::log(x); }

}  // namespace gossamer
