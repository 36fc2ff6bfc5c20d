#if defined(__x86_64__)
#include "kernels/simd/avx2.h"

#include "kernels/col2im/body.h"

void gossamer::col2im_avx2(const Col2imArgs& args) { col2im(args); }
#endif
