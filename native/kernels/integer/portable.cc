#include "kernels/simd/portable_int.h"

#include "kernels/integer/body.h"

void gossamer::requantize_portable(const RequantizeArgs& args) { ::requantize(args); }
