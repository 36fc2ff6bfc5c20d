#include "kernels/simd/portable.h"
#include "kernels/bf16/widened.h"
#include "kernels/gemm/gemm.h"

namespace {
constexpr gossamer::Tile kTile = gossamer::kTilePortable;
}

#include "kernels/bf16/body.h"

void gossamer::bf16_portable(const GemmArgs& args) { product(args, PairRight{args.b}); }
void gossamer::round_bf16_portable(const Bf16Round& args) { round_bf16(args); }
