#include "kernels/depthwise_cells/bytes_portable.h"

void gossamer::depthwise_cells_portable(const DepthwiseCellsArgs& args) { convolve_depthwise(args); }
