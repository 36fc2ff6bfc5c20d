#include "kernels/simd/portable.h"
#include "kernels/gemm/gemm.h"

namespace {
constexpr gossamer::Tile kTile = gossamer::kTilePortable;
}

#include "kernels/winograd/body.h"

void gossamer::winograd2_portable(const ConvArgs& args) { winograd<2>(args); }
void gossamer::winograd4_portable(const ConvArgs& args) { winograd<4>(args); }
void gossamer::winograd6_portable(const ConvArgs& args) { winograd<6>(args); }
