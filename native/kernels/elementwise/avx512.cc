#if defined(__x86_64__)
#include "kernels/simd/avx512.h"

#include "kernels/elementwise/body.h"

namespace gossamer {
void round_avx512(const RoundArgs& args) { ::round_to_steps(args); }
void unary_avx512(const UnaryArgs& args) { ::unary(args); }
void binary_avx512(const BinaryArgs& args) { ::binary(args); }
void affine_avx512(const AffineArgs& args) { ::affine(args); }
}  // namespace gossamer
#endif
