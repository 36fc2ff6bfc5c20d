#include "kernels/codes/codes.h"
#include "kernels/gemm/gemm.h"

namespace gossamer {

const CodesKernel kCodesKernels[kRowCount] = {
    {Isa::portable, "codes/portable", codes_portable, kTilePortable.width},
#if defined(__x86_64__)
    {Isa::avx2, "codes/avx2", codes_avx2, kTileAvx2.width},
    {Isa::avx512, "codes/avx512", codes_avx512, kTileAvx512.width},
#endif
};

int64_t code_words(int64_t k, int64_t n, int bits, int width) {
  const int64_t per_word = 32 / bits;
  return (n + width - 1) / width * width * ((k + per_word - 1) / per_word);
}

}  // namespace gossamer
