#include "kernels/simd/portable.h"
#include "kernels/gemm/gemm.h"

namespace {
constexpr gossamer::Tile kTile = gossamer::kTilePortable;
}

#include "kernels/conv/body.h"

void gossamer::conv_portable(const ConvArgs& args) { conv(args); }
