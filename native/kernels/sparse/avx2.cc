#if defined(__x86_64__)
#include "kernels/simd/avx2.h"

#include "kernels/sparse/body.h"

namespace gossamer {
void sparse_avx2(const SparseArgs& args) { ::sparse(args); }
}  // namespace gossamer
#endif
