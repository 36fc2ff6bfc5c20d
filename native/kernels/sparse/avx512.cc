#if defined(__x86_64__)
#include "kernels/simd/avx512.h"

#include "kernels/sparse/body.h"

namespace gossamer {
void sparse_avx512(const SparseArgs& args) { ::sparse(args); }
}  // namespace gossamer
#endif
