#if defined(__x86_64__)
#include "kernels/simd/avx2_int.h"

#include "kernels/integer/body.h"

void gossamer::requantize_avx2(const RequantizeArgs& args) { ::requantize(args); }
#endif
