#if defined(__x86_64__)
#include "kernels/simd/avx512.h"

#include "kernels/transpose/body.h"

void gossamer::transpose_avx512(const TransposeArgs& args) { transpose_all(args); }
#endif
