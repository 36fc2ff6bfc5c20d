#if defined(__x86_64__)
#include "kernels/simd/avx512_int.h"

#include "kernels/integer/body.h"

void gossamer::requantize_avx512(const RequantizeArgs& args) { ::requantize(args); }
#endif
