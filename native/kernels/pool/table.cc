#include "kernels/pool/pool.h"

namespace gossamer {

const Row<void (*)(const PoolArgs&)> kPoolKernels[kRowCount] = GOSSAMER_ROWS("pool", pool);

int64_t pool_scratch(const PoolArgs& a) {
  const int64_t reached = (a.out_w - 1) * a.stride_w + (a.kernel_w - 1) * a.dilation_w + 1;
  const int64_t filled = a.pad_left + a.in_w;
  return (reached > filled ? reached : filled) + 64 + a.out_w;  // 64: a vector may be read past the last window
}

}  // namespace gossamer
