#if defined(__x86_64__)
#include "kernels/simd/avx512.h"
#include "kernels/fft/fft.h"

namespace {
constexpr gossamer::Tile kTile = gossamer::kFftAvx512;
}

#include "kernels/fft/body.h"

void gossamer::fft_avx512(const ConvArgs& args) { fft(args); }
#endif
