// Weights as codes of 1 to 16 bits, decoded block by block on their way into a product (gemm, direct):
//
//   w(p, j) = t[q(p, j)] s(p / block, j)            weight sharing (Han et al. 2016, section 3)
//   w(p, j) = (q(p, j) - z(p / block, j)) s(p / block, j)       affine quantization (Jacob et al. 2017, eq. 1)
//
// for the k x n matrix of gemm.h, in panels of `width` columns. 32 / bits codes that follow each other along k share a word
// of 32 bits, the first one lowest: a vector of words holds one code of each of its columns after every shift. The decoded
// matrix never exists as a whole: a few rows of one panel do, in memory that stays in a cache.
// Both forms are computed as written, one rounding for each operation: equal on every instruction set.
#pragma once

#include <cstdint>

#include "kernels/row.h"

namespace gossamer {

struct CodedPanels {
  int64_t k = 0;
  int bits = 8, width = 0;
  const uint32_t* words = nullptr;  // [panel][ceil(k / (32 / bits))][width]
  const float* table = nullptr;  // what the codes stand for; none: themselves
  int table_size = 0;
  int64_t block = 0;  // so many rows share a scale and a zero point; k: all
  const float* scales = nullptr;  // [panel][ceil(k / block)][width]
  const uint8_t* zeros = nullptr;  // like the scales
  // Rows [row, row + rows) of a panel, `columns` of each (a multiple of the vector's lanes, at most width), to rows x columns.
  void (*decode)(const CodedPanels&, int64_t panel, int64_t row, int64_t rows, int64_t columns, float* to) = nullptr;
};

struct CodesKernel {
  Isa isa;
  const char* name;
  decltype(CodedPanels::decode) run;
  int width;  // of the panels that it decodes
};

extern const CodesKernel kCodesKernels[kRowCount];

void codes_portable(const CodedPanels&, int64_t panel, int64_t row, int64_t rows, int64_t columns, float* to);
void codes_avx2(const CodedPanels&, int64_t panel, int64_t row, int64_t rows, int64_t columns, float* to);
void codes_avx512(const CodedPanels&, int64_t panel, int64_t row, int64_t rows, int64_t columns, float* to);

// Words that n columns of k codes take.
int64_t code_words(int64_t k, int64_t n, int bits, int width);

// code(p, j) to panels; columns past the last one hold code 0.
template <class Code>
void pack_codes(int64_t k, int64_t n, int bits, int width, const Code& code, uint32_t* words) {
  const int64_t per_word = 32 / bits;
  for (int64_t column = 0; column < n; column += width) {
    for (int64_t row = 0; row < k; row += per_word) {
      for (int64_t j = column; j < column + width; ++j, ++words) {
        *words = 0;
        for (int64_t p = row; j < n && p < k && p < row + per_word; ++p) *words |= uint32_t{code(p, j)} << (p - row) * bits;
      }
    }
  }
}

}  // namespace gossamer
