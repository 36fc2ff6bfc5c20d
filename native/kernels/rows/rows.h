// Softmax, reductions and layer normalization: operations along one dimension of an outer x n x inner array, fp32.
// Errors: docs/numerics.md, section 3.
#pragma once

#include <cstdint>

#include "kernels/row.h"

namespace gossamer {

// y = e^(x - max) / sum e^(x - max) along n; logarithm: x - max - log(sum).
struct SoftmaxArgs {
  int64_t outer = 0, n = 0, inner = 1;
  bool logarithm = false;
  const float* x = nullptr;
  float* y = nullptr;  // may be x
};

enum class Reduction { sum, mean, max, min, sum_of_absolutes, sum_of_squares };
inline constexpr Reduction kLastReduction = Reduction::sum_of_squares;

// y (outer x inner) = the reduction of x (outer x n x inner) along n; n >= 1 for max and min.
struct ReduceArgs {
  Reduction op;
  int64_t outer = 0, n = 0, inner = 1;
  const float* x = nullptr;
  float* y = nullptr;
};

// y = (x - mean) / sqrt(variance + epsilon) * scale + shift along the last n (Ba et al. 2016, eq. 4). Not centered: the mean
// is taken for zero (Zhang and Sennrich 2019). With an area, each scale and shift is that of so many neighbours: a row is a
// group of channels (Wu and He 2018).
struct LayerNormArgs {
  int64_t outer = 0, n = 0;
  float epsilon = 1e-5f;
  const float* x = nullptr;
  const float* scale = nullptr;  // n / area
  const float* shift = nullptr;  // n / area, or none
  float* y = nullptr;  // may be x
  int64_t area = 1;
  bool centered = true;
};

extern const Row<void (*)(const SoftmaxArgs&)> kSoftmaxKernels[kRowCount];
extern const Row<void (*)(const ReduceArgs&)> kReduceKernels[kRowCount];
extern const Row<void (*)(const LayerNormArgs&)> kLayerNormKernels[kRowCount];

void softmax_portable(const SoftmaxArgs&);
void softmax_avx2(const SoftmaxArgs&);
void softmax_avx512(const SoftmaxArgs&);
void reduce_portable(const ReduceArgs&);
void reduce_avx2(const ReduceArgs&);
void reduce_avx512(const ReduceArgs&);
void layer_norm_portable(const LayerNormArgs&);
void layer_norm_avx2(const LayerNormArgs&);
void layer_norm_avx512(const LayerNormArgs&);

// log x, the C library's, for the sums of a logarithmic softmax.
float natural_logarithm(float x);

}  // namespace gossamer
