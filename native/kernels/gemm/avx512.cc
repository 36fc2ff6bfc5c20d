#if defined(__x86_64__)
#include "kernels/simd/avx512.h"
#include "kernels/gemm/gemm.h"

namespace {
constexpr gossamer::Tile kTile = gossamer::kGemmAvx512;
}

#include "kernels/gemm/body.h"

void gossamer::gemm_avx512(const GemmArgs& args) { product(args, DenseRight{args.b}); }
#endif
