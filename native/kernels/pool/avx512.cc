#if defined(__x86_64__)
#include "kernels/simd/avx512.h"

#include "kernels/pool/body.h"

namespace gossamer {
void pool_avx512(const PoolArgs& args) { ::pool(args); }
}  // namespace gossamer
#endif
