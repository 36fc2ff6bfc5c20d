#include "kernels/simd/portable.h"

#include "kernels/col2im/body.h"

void gossamer::col2im_portable(const Col2imArgs& args) { col2im(args); }
