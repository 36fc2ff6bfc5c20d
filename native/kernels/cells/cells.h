// Convolution over planes of cells, with weights of which any may be absent: dense and sparse, float and 8-bit, through
// one loop.
//
// A *cell* is 32 bits of one pixel: one channel as float32, or four consecutive channels as uint8. Cells of one channel
// (of one group of four) for all pixels form a *plane*. Planes of floats are what ONNX calls NCHW; planes of bytes are
// [ceil(C / 4)][pixels][4].
//
//   sum[r][p] = initial[r] + sum over the blocks b of r's group of  <w[b][r], in[offset[b] + p]>                 (1)
//
// p runs over the *positions* of the output. A block is one cell of weights for each of the R rows (output channels) of
// a group: they share the pattern, so that a loaded vector of 16 pixels serves R rows. Dense weights are those whose
// every block is there. offset[b] is the place of an input plane plus that of a tap of the kernel, so that one loop
// serves every window; strides and padding are the matter of planes.h, which lays the input out so that (1) holds.
//
// Sums of bytes are exact while |sum| < 2^31, which whoever packs the weights checks (kMostByteTerms).
#pragma once

#include <cstdint>

#include "kernels/row.h"

namespace gossamer {

// Weights. Group g holds rows g R .. g R + R - 1 and blocks starts[g] .. starts[g + 1] - 1.
struct CellBlocks {
  int64_t rows = 0;  // of output, without those that fill up the last group
  int group_rows = 1;  // R: 1, 2 or 4
  const uint32_t* starts = nullptr;  // of the groups of all units, filled up with empty ones
  const int32_t* offsets = nullptr;  // in cells
  const void* values = nullptr;  // R cells a block, in the form of the kernel's row
};

// How a cell of weights lies in memory. Bytes: w0 w1 w2 w3. Halves, for machines without a dot product of bytes: int16
// w0 w2 w1 w3, which meet the even and the odd bytes of the input.
enum class CellForm { floats, bytes, halves };
constexpr int cell_bytes(CellForm form) { return form == CellForm::halves ? 8 : 4; }

// Position p is pixel (p / pitch) width + p % pitch where p % pitch < width, and no pixel elsewhere.
struct CellPositions {
  int64_t count = 0, pitch = 1, width = 1;
  int64_t pixels() const { return count / pitch * width + (count % pitch < width ? count % pitch : width); }
};

// What a sum of bytes becomes: t = scale[r] sum + shift[r]. Where there is a residual of bytes q, t = keep m +
// residual_scale q + residual_shift with m = t, or with `rounds_mid` m = round(t) clamped to mid_low .. mid_high (the
// quantized tensor that stood between the convolution and the sum). To bytes: round half to even, add `zero`, saturate,
// clamp to low .. high. To floats, where q is a float: t + q clamped.
// A sum of floats only gains its residual and is clamped.
struct CellEpilogue {
  const float *scale = nullptr, *shift = nullptr;  // [rows, filled up to whole units]; bytes only
  bool rounds_mid = false;
  float mid_low = 0, mid_high = 255, keep = 1, residual_scale = 0, residual_shift = 0;
  int zero = 0;
  float low = 0, high = 255;
  // Bytes without residual; in the place of scale and shift, and as they are laid out: requantization in integers alone,
  // t = sum multiplier 2^(-31 - right_shift), kernels/integer/fixed_point.h.
  const int32_t *multiplier = nullptr, *right_shift = nullptr;
};

struct CellConvArgs {
  const uint32_t* in = nullptr;  // kCellSlack cells may be read behind the last one
  CellBlocks weights;
  CellPositions at;
  const void* initial = nullptr;  // int32 or float, [rows, filled up to whole units]: what the sums start from
  CellEpilogue epilogue;
  const void* residual = nullptr;  // as the output
  void* out = nullptr;  // planes of cells of bytes or of float32
  int64_t out_plane = 0;  // cells from one plane of the output (and of the residual) to the next; 0: at.pixels()
  bool float_out = false;  // bytes only: planes of float32, one for each row
  bool sums_out = false;  // bytes only: planes of int32, the sums themselves
  int64_t tile_begin = 0, tile_end = 0;  // tiles of positions
  int64_t unit_begin = 0, unit_end = 0;  // units of kCellUnit rows

  // Always inlined: files of several instruction sets call it, and the linker must not choose one's copy for all.
  [[gnu::always_inline]] int64_t plane() const { return out_plane ? out_plane : at.pixels(); }
};

inline constexpr int64_t kCellSlack = 16;
inline constexpr int64_t kMostByteTerms = (int64_t{1} << 31) / (255 * 128);  // products that cannot overflow a sum

// Rows are computed in units that fill a cell of output.
inline constexpr int kCellUnit = 4;

// Vectors of positions in a tile of `rows` rows: as many sums as fit the registers beside the vectors they come from.
enum class CellRegisters { few, halved, many };  // 16; 32 of which bytes need two for a vector; 32
constexpr int cell_vectors(CellRegisters registers, int rows) {
  if (registers == CellRegisters::few) return rows == 1 ? 4 : rows == 2 ? 3 : 2;
  if (registers == CellRegisters::halved) return rows == 1 ? 6 : rows == 2 ? 5 : 4;
  return rows == 1 ? 8 : 6;
}

struct CellKernel : Row<void (*)(const CellConvArgs&)> {
  CellForm form;
  int lanes;
  CellRegisters registers;
  int64_t tile(int group_rows) const { return int64_t{lanes} * cell_vectors(registers, group_rows); }  // positions
};

extern const CellKernel kCellFloatKernels[kRowCount];
extern const CellKernel kCellByteKernels[kByteRowCount];

void cell_floats_portable(const CellConvArgs&);
void cell_floats_avx2(const CellConvArgs&);
void cell_floats_avx512(const CellConvArgs&);
void cell_bytes_portable(const CellConvArgs&);
void cell_bytes_avx2(const CellConvArgs&);
void cell_bytes_avx512(const CellConvArgs&);
void cell_bytes_avx512vnni(const CellConvArgs&);

}  // namespace gossamer
