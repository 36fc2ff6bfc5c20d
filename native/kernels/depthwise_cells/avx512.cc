#if defined(__x86_64__)
#include "kernels/depthwise_cells/bytes_avx512.h"

void gossamer::depthwise_cells_avx512(const DepthwiseCellsArgs& args) { convolve_depthwise(args); }
#endif
