// Products of signs, by counting bits (Rastegari et al. 2016, XNOR-Net, section 3.2). A sign is a bit, 1 for +1 and 0 for -1;
// 32 along k are a word. With A of m rows of words and B of n columns of words,
//
//   C(i, j) = clamp(scale (bits(j) - 2 sum over w of popcount((A(i, w) ^ B(w, j)) & M(w, j))) + bias + residual, low, high)
//
// where bits(j) is how many signs of column j count: k, or where there is a mask M the number of its bits. What is not masked
// must be 0 in both factors behind the last sign. The sum is an exact integer; scale and bias are one fused multiply-add of
// float32, so that every instruction set gives the same bits (docs/numerics.md, section 12).
#pragma once

#include <cstdint>

#include "kernels/gemm/gemm.h"

namespace gossamer {

struct XnorArgs {
  int64_t m = 0, n = 0, words = 0;
  const int32_t* a = nullptr;  // A(i, w) = a[i * words + w]
  const int32_t* b = nullptr;  // panel j holds columns [j nr, (j+1) nr): `words` rows of nr words
  const int32_t* mask = nullptr;  // as b, or none
  const int32_t* bits = nullptr;  // n, in whole panels
  const float* row_scale = nullptr;  // m; either these
  const float* column_scale = nullptr;  // n; or these
  const float* row_bias = nullptr;  // m, or none
  const float* column_bias = nullptr;  // n, or none
  const float* residual = nullptr;  // at C's strides, or none
  float* c = nullptr;
  int64_t c_stride = 0;
  float low = 0, high = 0;
  int64_t tile_begin = 0, tile_end = 0, panel_begin = 0, panel_end = 0;  // as in GemmArgs
};

// to[w] = the signs of x[32 w], ..., that of the first in the lowest bit: 1 where x >= limit.
struct SignRowArgs {
  const float* x = nullptr;
  int64_t count = 0;
  float limit = 0;
  int32_t* to = nullptr;
};

// to[p] = the signs of x[c stride + p], c < channels <= 32, that of channel 0 in the lowest bit.
struct SignPlanesArgs {
  const float* x = nullptr;
  int64_t channels = 0, stride = 0, pixels = 0;
  float limit = 0;
  int32_t* to = nullptr;
};

struct XnorKernel {
  Isa isa;
  const char* name;
  void (*run)(const XnorArgs&);
  Tile tile;
  void (*row)(const SignRowArgs&);
  void (*planes)(const SignPlanesArgs&);
};

extern const XnorKernel kXnorKernels[kByteRowCount];

constexpr int64_t sign_words(int64_t signs) { return (signs + 31) / 32; }

// Rows of words, (n, words), as panels of `width` columns; the last one is filled up with zeros.
void pack_signs(int64_t n, int64_t words, const int32_t* rows, int width, int32_t* panels);

#define GOSSAMER_XNOR(isa)                      \
  void xnor_##isa(const XnorArgs&);           \
  void sign_row_##isa(const SignRowArgs&);        \
  void sign_planes_##isa(const SignPlanesArgs&);
GOSSAMER_XNOR(portable)
GOSSAMER_XNOR(avx2)
GOSSAMER_XNOR(avx512)
GOSSAMER_XNOR(avx512popcnt)
#undef GOSSAMER_XNOR

}  // namespace gossamer
