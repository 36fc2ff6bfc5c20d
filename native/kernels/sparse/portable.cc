#include "kernels/simd/portable.h"

#include "kernels/sparse/body.h"

namespace gossamer {
void sparse_portable(const SparseArgs& args) { ::sparse(args); }
}  // namespace gossamer
