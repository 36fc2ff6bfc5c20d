#include "kernels/simd/portable.h"
#include "kernels/gemm/gemm.h"

namespace {
constexpr gossamer::Tile kTile = gossamer::kTilePortable;
}

#include "kernels/codebook/body.h"

void gossamer::codebook_portable(const CodebookArgs& args) { codebook(args); }
