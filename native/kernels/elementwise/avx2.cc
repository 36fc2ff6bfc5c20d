#if defined(__x86_64__)
#include "kernels/simd/avx2.h"

#include "kernels/elementwise/body.h"

namespace gossamer {
void round_avx2(const RoundArgs& args) { ::round_to_steps(args); }
void unary_avx2(const UnaryArgs& args) { ::unary(args); }
void binary_avx2(const BinaryArgs& args) { ::binary(args); }
void affine_avx2(const AffineArgs& args) { ::affine(args); }
}  // namespace gossamer
#endif
