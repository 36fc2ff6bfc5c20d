#include "kernels/simd/portable.h"

#include "kernels/pool/body.h"

namespace gossamer {
void pool_portable(const PoolArgs& args) { ::pool(args); }
}  // namespace gossamer
