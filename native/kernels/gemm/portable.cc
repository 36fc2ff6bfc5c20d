#include "kernels/simd/portable.h"
#include "kernels/gemm/gemm.h"

namespace {
constexpr gossamer::Tile kTile = gossamer::kTilePortable;
}

#include "kernels/gemm/body.h"

void gossamer::gemm_portable(const GemmArgs& args) { product(args, DenseRight{args.b}); }
