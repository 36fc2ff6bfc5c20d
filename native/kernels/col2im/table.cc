#include <algorithm>

#include "kernels/col2im/col2im.h"

namespace gossamer {

const Row<void (*)(const Col2imArgs&)> kCol2imKernels[kRowCount] = GOSSAMER_ROWS("col2im", col2im);

int64_t col2im_phase(const Col2imArgs& a) {
  const int64_t added = a.in_w + (a.kernel_w - 1) * a.dilation_w / a.stride_w, read = (a.out_w - 1 + a.pad_left) / a.stride_w;
  return std::max(added, read) + 1;
}

int64_t col2im_scratch(const Col2imArgs& a) { return a.stride_w * col2im_phase(a); }

}  // namespace gossamer
