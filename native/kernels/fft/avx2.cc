#if defined(__x86_64__)
#include "kernels/simd/avx2.h"
#include "kernels/fft/fft.h"

namespace {
constexpr gossamer::Tile kTile = gossamer::kFftAvx2;
}

#include "kernels/fft/body.h"

void gossamer::fft_avx2(const ConvArgs& args) { fft(args); }
#endif
