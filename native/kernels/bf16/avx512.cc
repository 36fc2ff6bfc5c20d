#if defined(__x86_64__)
#include "kernels/simd/avx512.h"
#include "kernels/bf16/widened.h"
#include "kernels/gemm/gemm.h"

namespace {
constexpr gossamer::Tile kTile = gossamer::kGemmAvx512;
}

#include "kernels/bf16/body.h"

void gossamer::bf16_avx512(const GemmArgs& args) { product(args, PairRight{args.b}); }
void gossamer::round_bf16_avx512(const Bf16Round& args) { round_bf16(args); }
#endif
