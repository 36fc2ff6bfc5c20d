#if defined(__x86_64__)
#include "kernels/simd/avx512.h"

#include "kernels/depthwise/body.h"

void gossamer::depthwise_avx512(const ConvArgs& args) { depthwise(args); }
#endif
