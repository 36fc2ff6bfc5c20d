#if defined(__x86_64__)
#include "kernels/cells/bytes_avx2.h"

void gossamer::cell_bytes_avx2(const CellConvArgs& args) { convolve(args); }
#endif
