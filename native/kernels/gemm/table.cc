#include "kernels/gemm/gemm.h"

namespace gossamer {

const GemmKernel kGemmKernels[kRowCount] = {
    {Isa::portable, "gemm/portable", gemm_portable, kTilePortable},
#if defined(__x86_64__)
    {Isa::avx2, "gemm/avx2", gemm_avx2, kTileAvx2},
    {Isa::avx512, "gemm/avx512", gemm_avx512, kGemmAvx512},
#endif
};

int64_t panel_count(int64_t n, int width) { return (n + width - 1) / width; }

int64_t tile_height(int64_t rows, int64_t most) {
  const int64_t tiles = (rows + most - 1) / most;
  return tiles ? (rows + tiles - 1) / tiles : 0;
}

int64_t packed_size(int64_t k, int64_t n, int width) { return panel_count(n, width) * width * k; }

void pack_b(int64_t k, int64_t n, const float* b, int64_t b_k, int64_t b_n, int width, float* packed) {
  for (int64_t column = 0; column < n; column += width) {
    const int64_t columns = n - column < width ? n - column : width;
    for (int64_t p = 0; p < k; ++p, packed += width) {
      for (int64_t j = 0; j < width; ++j) packed[j] = j < columns ? b[p * b_k + (column + j) * b_n] : 0.0f;
    }
  }
}

}  // namespace gossamer
