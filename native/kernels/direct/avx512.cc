#if defined(__x86_64__)
#include "kernels/simd/avx512.h"
#include "kernels/gemm/gemm.h"

namespace {
constexpr gossamer::Tile kTile = gossamer::kGemmAvx512;
}

#include "kernels/direct/body.h"

void gossamer::direct_avx512(const ConvArgs& args) { direct(args); }
#endif
