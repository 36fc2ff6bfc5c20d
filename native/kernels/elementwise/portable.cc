#include "kernels/simd/portable.h"

#include "kernels/elementwise/body.h"

namespace gossamer {
void round_portable(const RoundArgs& args) { ::round_to_steps(args); }
void unary_portable(const UnaryArgs& args) { ::unary(args); }
void binary_portable(const BinaryArgs& args) { ::binary(args); }
void affine_portable(const AffineArgs& args) { ::affine(args); }
}  // namespace gossamer
