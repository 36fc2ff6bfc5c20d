// Product of unsigned and signed bytes, and what follows it:  S(i, n) = bias(n) + sum over c, j of a(i, c, j) w(n, c, j)  in
// int32, where i counts pixels (rows of a linear layer), n output channels, c *cells* of four bytes (j = 0 .. 3).
//
// A is read through two tables: the four bytes of cell c of pixel i lie at  a + pixel_offset[i] + cell_offset[c].  For a linear
// layer these are i K and 4 c; for a convolution the taps of an image in any layout that keeps four channels together. All
// of a cell's bytes are read; where K ends inside of a cell its weights are zero.
//
// Weights are packed by pack_weights_s8 as [N / width][cells][width][4]. Sums are exact while K 255 128 < 2^31 (K < 65793),
// on every instruction set; beyond, they wrap around. What follows the sum is exactly the same on every instruction set, too:
// docs/numerics.md, section 7.
#pragma once

#include <cstdint>

#include "kernels/gemm/gemm.h"

namespace gossamer {

enum class QgemmOutput {
  sums,  // y: int32, S
  floats,  // y: float, t = S scale + shift (+ residual), clamped to [low, high]
  bytes,  // y: u8 or s8, round(t) + zero, clamped; rounds half to even. With a residual q t is what it is in cells/cells.h
  fixed_point,  // y: u8 or s8, S multiplier 2^(-31 - right_shift) + zero, clamped, in integers (kernels/integer/fixed_point.h)
};

// What becomes of a sum. Pointers to one number per channel.
struct QgemmEdge {
  QgemmOutput output = QgemmOutput::sums;
  const int32_t* bias = nullptr;  // or none; holds - zero(a) sum w(n, ...) where a has a zero point
  const float* scale = nullptr;  // floats, bytes
  const float* shift = nullptr;  // floats, bytes; or none
  const int32_t* multiplier = nullptr;  // fixed_point: in [0, 2^31)
  const int32_t* right_shift = nullptr;  // fixed_point: in [-31, 31]; below zero it shifts to the left, saturating, first
  // floats: of y's layout, float. bytes: of y's layout, u8 or s8 as residual_signed says. Or none. May be y itself.
  const void* residual = nullptr;
  bool residual_signed = false;
  bool rounds_mid = false;
  float mid_low = 0, mid_high = 255, keep = 1, residual_scale = 0, residual_shift = 0;
  int32_t zero = 0;  // of y
  int32_t least = 0, most = 255;  // bytes that y may be, the zero point included: 0 .. 255 or -128 .. 127, or less with a clamp
  float low = 0, high = 0;  // floats
};

struct QgemmArgs {
  int64_t m = 0, n = 0, cells = 0;
  const uint8_t* a = nullptr;
  const int64_t* pixel_offset = nullptr;  // m
  const int64_t* cell_offset = nullptr;  // cells
  const int8_t* b = nullptr;  // packed
  QgemmEdge edge;
  void* y = nullptr;
  int64_t y_pixel = 0;  // elements from one pixel to the next
  int64_t y_cell = 4;  // elements from four channels to the next four; 4: channels lie together
  // The share of one thread, as in gemm.h.
  int64_t tile_begin = 0, tile_end = 0, panel_begin = 0, panel_end = 0;
};

inline constexpr Tile kQgemmPortable{4, 8}, kQgemmAvx2{4, 16}, kQgemmAvx512{10, 32}, kQgemmVnni{14, 32};

struct QgemmKernel {
  Isa isa;
  const char* name;
  void (*run)(const QgemmArgs&);
  Tile tile;
};

extern const QgemmKernel kQgemmKernels[kByteRowCount];

void qgemm_portable(const QgemmArgs&);
void qgemm_avx2(const QgemmArgs&);
void qgemm_avx512(const QgemmArgs&);
void qgemm_avx512vnni(const QgemmArgs&);

// Bytes of the packed weights of n channels.
int64_t packed_weights_s8_size(int64_t n, int64_t cells, int width);

// W(n, p) = w[n * w_n + p * w_k], p < k, to panels of `width` channels, cells of four; filled up with zeros.
void pack_weights_s8(int64_t n, int64_t k, const int8_t* w, int64_t w_n, int64_t w_k, int width, int8_t* packed);

}  // namespace gossamer
