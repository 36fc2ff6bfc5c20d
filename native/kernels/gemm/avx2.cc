#if defined(__x86_64__)
#include "kernels/simd/avx2.h"
#include "kernels/gemm/gemm.h"

namespace {
constexpr gossamer::Tile kTile = gossamer::kTileAvx2;
}

#include "kernels/gemm/body.h"

void gossamer::gemm_avx2(const GemmArgs& args) { product(args, DenseRight{args.b}); }
#endif
