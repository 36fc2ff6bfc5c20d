#include "kernels/simd/portable.h"

#include "kernels/transpose/body.h"

void gossamer::transpose_portable(const TransposeArgs& args) { transpose_all(args); }
