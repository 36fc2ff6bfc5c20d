#include "kernels/simd/portable.h"

#include "kernels/depthwise/body.h"

void gossamer::depthwise_portable(const ConvArgs& args) { depthwise(args); }
