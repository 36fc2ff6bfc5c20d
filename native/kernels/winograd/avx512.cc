#if defined(__x86_64__)
#include "kernels/simd/avx512.h"
#include "kernels/gemm/gemm.h"

namespace {
constexpr gossamer::Tile kTile = gossamer::kGemmAvx512;
}

#include "kernels/winograd/body.h"

void gossamer::winograd2_avx512(const ConvArgs& args) { winograd<2>(args); }
void gossamer::winograd4_avx512(const ConvArgs& args) { winograd<4>(args); }
void gossamer::winograd6_avx512(const ConvArgs& args) { winograd<6>(args); }
#endif
