#if defined(__x86_64__)
#include "kernels/simd/avx512.h"

#include "kernels/cells/floats.h"

void gossamer::cell_floats_avx512(const CellConvArgs& args) { convolve(args); }
#endif
