#include "kernels/qgemm/qgemm.h"

namespace gossamer {

const QgemmKernel kQgemmKernels[kByteRowCount] = {
    {Isa::portable, "qgemm/portable", qgemm_portable, kQgemmPortable},
#if defined(__x86_64__)
    {Isa::avx2, "qgemm/avx2", qgemm_avx2, kQgemmAvx2},
    {Isa::avx512, "qgemm/avx512", qgemm_avx512, kQgemmAvx512},
    {Isa::avx512vnni, "qgemm/avx512vnni", qgemm_avx512vnni, kQgemmVnni},
#endif
};

int64_t packed_weights_s8_size(int64_t n, int64_t cells, int width) { return panel_count(n, width) * width * cells * 4; }

void pack_weights_s8(int64_t n, int64_t k, const int8_t* w, int64_t w_n, int64_t w_k, int width, int8_t* packed) {
  const int64_t cells = (k + 3) / 4;
  for (int64_t panel = 0; panel < n; panel += width) {
    for (int64_t cell = 0; cell < cells; ++cell) {
      for (int64_t channel = panel; channel < panel + width; ++channel) {
        for (int64_t p = 4 * cell; p < 4 * cell + 4; ++p) {
          *packed++ = channel < n && p < k ? w[channel * w_n + p * w_k] : int8_t{0};
        }
      }
    }
  }
}

}  // namespace gossamer
