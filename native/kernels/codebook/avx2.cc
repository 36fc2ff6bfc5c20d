#if defined(__x86_64__)
#include "kernels/simd/avx2.h"
#include "kernels/gemm/gemm.h"

namespace {
constexpr gossamer::Tile kTile = gossamer::kTileAvx2;
}

#include "kernels/codebook/body.h"

void gossamer::codebook_avx2(const CodebookArgs& args) { codebook(args); }
#endif
