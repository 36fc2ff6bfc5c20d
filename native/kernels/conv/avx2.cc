#if defined(__x86_64__)
#include "kernels/simd/avx2.h"
#include "kernels/gemm/gemm.h"

namespace {
constexpr gossamer::Tile kTile = gossamer::kTileAvx2;
}

#include "kernels/conv/body.h"

void gossamer::conv_avx2(const ConvArgs& args) { conv(args); }
#endif
