#include "kernels/codebook/codebook.h"

namespace gossamer {

const CodebookKernel kCodebookKernels[kRowCount] = {
    {Isa::portable, "codebook/portable", codebook_portable, kTilePortable},
#if defined(__x86_64__)
    {Isa::avx2, "codebook/avx2", codebook_avx2, kTileAvx2},
    {Isa::avx512, "codebook/avx512", codebook_avx512, kTileAvx512},
#endif
};

}  // namespace gossamer
