#if defined(__x86_64__)
#include "kernels/cells/bytes_avx512.h"

void gossamer::cell_bytes_avx512(const CellConvArgs& args) { convolve(args); }
#endif
