// Matrix product with everything that follows it:  C = clamp(A B + bias + residual, low, high),  fp32.
//
// A is m x k, read in place through its two strides; B is k x n, packed into panels (pack_b); C is m x n, row-major
// with leading dimension c_stride. Bias is per row or per column; the residual has C's layout and may be C itself.
// Error: docs/numerics.md, equation (4).
#pragma once

#include <cstdint>

#include "kernels/codes/codes.h"
#include "kernels/row.h"

namespace gossamer {

struct GemmArgs {
  int64_t m = 0, n = 0, k = 0;
  const float* a = nullptr;  // A(i, p) = a[i * a_row + p * a_k]
  int64_t a_row = 0, a_k = 1;
  const float* b = nullptr;  // panel j holds columns [j nr, (j+1) nr): k rows of nr floats
  const CodedPanels* coded = nullptr;  // in place of b
  float* decoded = nullptr;  // kDecodedFloats of this thread alone, with `coded`
  float* c = nullptr;
  int64_t c_stride = 0;
  const float* row_bias = nullptr;  // m, or none
  const float* column_bias = nullptr;  // n, or none
  const float* residual = nullptr;  // at C's strides, or none
  float low = 0, high = 0;  // -inf, +inf: no clamp
  // The share of one thread: tiles of rows (tile_height(m, tile.rows) each) and panels of columns. What is computed does
  // not depend on how it is shared.
  int64_t tile_begin = 0, tile_end = 0, panel_begin = 0, panel_end = 0;
};

// The part of C that registers hold while k runs: rows times columns (one panel's width, nr).
struct Tile {
  int rows, width;
};
inline constexpr Tile kTilePortable{4, 8}, kTileAvx2{6, 16}, kTileAvx512{12, 32};
inline constexpr Tile kGemmAvx512{14, 32};  // where nothing but the two factors needs registers

// Of a panel of B so many floats are read by all rows of A before the next ones: they stay in the second cache level.
inline constexpr int64_t kDecodedFloats = 32768;

struct GemmKernel {
  Isa isa;
  const char* name;
  void (*run)(const GemmArgs&);
  Tile tile;
};

extern const GemmKernel kGemmKernels[kRowCount];

void gemm_portable(const GemmArgs&);
void gemm_avx2(const GemmArgs&);
void gemm_avx512(const GemmArgs&);

int64_t panel_count(int64_t n, int width);

// Tiles as equal in height as can be: 14 rows in tiles of at most 12 are two of 7, not 12 and 2.
int64_t tile_height(int64_t rows, int64_t most);

// Floats that packed B needs; the last panel is filled up with zeros.
int64_t packed_size(int64_t k, int64_t n, int width);

// B(p, j) = b[p * b_k + j * b_n] to panels of `width` columns.
void pack_b(int64_t k, int64_t n, const float* b, int64_t b_k, int64_t b_n, int width, float* packed);

}  // namespace gossamer
