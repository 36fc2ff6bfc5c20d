#include "kernels/cells/bytes_portable.h"

void gossamer::cell_bytes_portable(const CellConvArgs& args) { convolve(args); }
