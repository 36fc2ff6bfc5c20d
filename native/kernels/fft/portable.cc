#include "kernels/simd/portable.h"
#include "kernels/fft/fft.h"

namespace {
constexpr gossamer::Tile kTile = gossamer::kFftPortable;
}

#include "kernels/fft/body.h"

void gossamer::fft_portable(const ConvArgs& args) { fft(args); }
