#if defined(__x86_64__)
#include "kernels/simd/avx512.h"
#include "kernels/gemm/gemm.h"

namespace {
constexpr gossamer::Tile kTile = gossamer::kTileAvx512;
}

#include "kernels/codebook/body.h"

void gossamer::codebook_avx512(const CodebookArgs& args) { codebook(args); }
#endif
