#if defined(__x86_64__)
#include "kernels/simd/avx2.h"
#include "kernels/gemm/gemm.h"

namespace {
constexpr gossamer::Tile kTile = gossamer::kTileAvx2;
}

#include "kernels/direct/body.h"

void gossamer::direct_avx2(const ConvArgs& args) { direct(args); }
#endif
