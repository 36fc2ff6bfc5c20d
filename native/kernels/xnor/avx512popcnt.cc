#if defined(__x86_64__)
#include "kernels/xnor/words_avx512.h"
#include "kernels/gemm/gemm.h"

namespace {
constexpr gossamer::Tile kTile{8, 32};
constexpr int64_t kMostSteps = int64_t{1} << 40;

inline I counted(I counts, I words) { return {_mm512_add_epi32(counts.v, _mm512_popcnt_epi32(words.v))}; }
inline I widened(I counts) { return counts; }
}  // namespace

#include "kernels/xnor/body.h"

void gossamer::xnor_avx512popcnt(const XnorArgs& args) { xnor_product(args); }
#endif
