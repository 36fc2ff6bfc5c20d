#if defined(__x86_64__)
#include "kernels/simd/avx2.h"

#include "kernels/depthwise/body.h"

void gossamer::depthwise_avx2(const ConvArgs& args) { depthwise(args); }
#endif
