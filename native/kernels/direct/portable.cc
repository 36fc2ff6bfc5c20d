#include "kernels/simd/portable.h"
#include "kernels/gemm/gemm.h"

namespace {
constexpr gossamer::Tile kTile = gossamer::kTilePortable;
}

#include "kernels/direct/body.h"

void gossamer::direct_portable(const ConvArgs& args) { direct(args); }
