#if defined(__x86_64__)
#include "kernels/cells/bytes_avx512.h"

void gossamer::cell_bytes_avx512vnni(const CellConvArgs& args) { convolve(args); }
#endif
