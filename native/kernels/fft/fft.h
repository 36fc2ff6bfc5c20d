// Convolution with stride 1 by Fourier transforms (Mathieu, Henaff and LeCun 2014), for large kernels, NCHW, fp32:
//
//   y_o = F^-1 [ sum over c of F[x_c] * F[w'_oc] ],   w'(-u, -v) = w(u, v)     (* point by point; docs/numerics.md, section 10)
//
// The image is cut into tiles of rows x columns points, of which those whose window does not wrap around are outputs (overlap
// and save). Filters are real, so two tiles of an image are transformed at once, one as the real part and one as the
// imaginary part of what is transformed: their results come apart by themselves. Signals of one dimension are cut into tiles
// of rows times columns points, transformed as a matrix with a rotation in between (Bailey 1990).
//
// Transforms go by radix 4, decimated in frequency forward and in time back (Cooley and Tukey 1965), so that nothing is ever
// put in order: the spectrum stays scrambled, transposed, and the weights are scrambled likewise. Lanes are the points of
// the dimension that is not being transformed.
#pragma once

#include "kernels/conv/conv.h"

namespace gossamer {

inline constexpr int64_t kFftPairs = 2;  // pairs of tiles that registers multiply at a time
inline constexpr Tile kFftPortable{2, 4}, kFftAvx2{2, 8}, kFftAvx512{4, 16};  // output channels at a time, lanes
inline constexpr int64_t kFftMost = 64;  // points of one dimension, at most

// How the work is cut, and where things lie in scratch memory (offsets in floats).
struct FftPlan {
  bool line;  // of one dimension
  int64_t rows, columns;  // of a tile
  int64_t out_h, out_w;  // outputs of a tile
  int64_t tiles_x, tiles, pairs;  // of an image
  int64_t block, blocks;  // pairs of a task, and how many such an image has
  int64_t in_vector;  // from one vector of points to the next of transformed inputs
  int64_t products, work, floats;  // offsets, after the transformed inputs; floats: all
  [[gnu::always_inline]] int64_t points() const { return rows * columns; }
  // What stands before the transformed weights: the rotation, real and imaginary parts.
  [[gnu::always_inline]] int64_t rotation() const { return line ? 2 * points() : 0; }
};
FftPlan fft_plan(const ConvShape& shape, Tile tile);

// cos and sin of -2 pi k / kFftMost.
struct FftRoots {
  float re[kFftMost], im[kFftMost];
};
extern const FftRoots kFftRoots;

extern const ConvKernel kFftKernels[kRowCount];

void fft_portable(const ConvArgs&);
void fft_avx2(const ConvArgs&);
void fft_avx512(const ConvArgs&);

}  // namespace gossamer
