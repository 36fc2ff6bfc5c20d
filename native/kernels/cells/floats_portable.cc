#include "kernels/simd/portable.h"

#include "kernels/cells/floats.h"

void gossamer::cell_floats_portable(const CellConvArgs& args) { convolve(args); }
