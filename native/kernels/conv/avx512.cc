#if defined(__x86_64__)
#include "kernels/simd/avx512.h"
#include "kernels/gemm/gemm.h"

namespace {
constexpr gossamer::Tile kTile = gossamer::kTileAvx512;
}

#include "kernels/conv/body.h"

void gossamer::conv_avx512(const ConvArgs& args) { conv(args); }
#endif
