// Matrix product with shared weights (Han et al. 2016, section 3):  C = clamp(A centroids[codes] + ..., low, high).
//
// The k x n matrix of codes (8 or 16 bits each) is packed into panels as B of gemm.h is; a code becomes its centroid in
// a register, on its way into the multiply-add. The decoded matrix never exists. `gemm.b` is not used.
// Error: docs/numerics.md, equation (4), as for the decoded matrix.
#pragma once

#include <cstdint>

#include "kernels/gemm/gemm.h"

namespace gossamer {

struct CodebookArgs {
  GemmArgs gemm;
  const void* codes = nullptr;
  int code_bytes = 1;  // 1 or 2
  const float* centroids = nullptr;
  int centroid_count = 0;
};

struct CodebookKernel {
  Isa isa;
  const char* name;
  void (*run)(const CodebookArgs&);
  Tile tile;
};

extern const CodebookKernel kCodebookKernels[kRowCount];

void codebook_portable(const CodebookArgs&);
void codebook_avx2(const CodebookArgs&);
void codebook_avx512(const CodebookArgs&);

// Code(p, j) = codes[p * k_stride + j * n_stride] to panels of `width` columns, filled up with code 0.
template <class Code>
void pack_codes(int64_t k, int64_t n, const Code* codes, int64_t k_stride, int64_t n_stride, int width, Code* packed) {
  for (int64_t column = 0; column < n; column += width) {
    const int64_t columns = n - column < width ? n - column : width;
    for (int64_t p = 0; p < k; ++p, packed += width) {
      for (int64_t j = 0; j < width; ++j) {
        packed[j] = j < columns ? codes[p * k_stride + (column + j) * n_stride] : Code{0};
      }
    }
  }
}

}  // namespace gossamer
