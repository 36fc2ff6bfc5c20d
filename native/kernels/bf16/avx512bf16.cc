#if defined(__x86_64__)
#include "kernels/simd/avx512.h"
#include "kernels/gemm/gemm.h"

namespace {
constexpr gossamer::Tile kTile = gossamer::kGemmAvx512;

inline V multiply_pairs(V a, V b, V sum) {
  return {_mm512_dpbf16_ps(sum.v, __builtin_bit_cast(__m512bh, a.v), __builtin_bit_cast(__m512bh, b.v))};
}
}  // namespace

#include "kernels/bf16/body.h"

namespace {

inline __m512i widened_halves(const float* x, int n) {
  return _mm512_cvtepu16_epi32(__builtin_bit_cast(__m256i, _mm512_cvtneps_pbh(V::load(x, n).v)));
}

// Pairs of two planes.
void round_planes(const gossamer::Bf16Round& r) {
  for (int64_t i = 0; i < r.count; i += V::kLanes) {
    const int n = static_cast<int>(r.count - i < V::kLanes ? r.count - i : V::kLanes);
    __m512i pairs = widened_halves(r.even + i, n);
    if (r.odd) pairs = _mm512_or_si512(pairs, _mm512_slli_epi32(widened_halves(r.odd + i, n), 16));
    _mm512_mask_storeu_epi32(r.to + i, V::mask(n), pairs);
  }
}

// Pairs of one row: even and odd elements lie side by side already.
void round_row(const gossamer::Bf16Round& r) {
  for (int64_t i = 0; i < r.count; i += V::kLanes) {
    const int n = static_cast<int>(r.count - i < V::kLanes ? r.count - i : V::kLanes), low = 2 * n < V::kLanes ? 2 * n : V::kLanes;
    const __m512 first = V::load(r.even + 2 * i, low).v, second = V::load(r.even + 2 * i + low, 2 * n - low).v;
    _mm512_mask_storeu_epi32(r.to + i, V::mask(n), __builtin_bit_cast(__m512i, _mm512_cvtne2ps_pbh(second, first)));
  }
}

}  // namespace

void gossamer::bf16_avx512bf16(const GemmArgs& args) { product(args, PairRight{args.b}); }
void gossamer::round_bf16_avx512bf16(const Bf16Round& args) { args.step == 1 ? round_planes(args) : round_row(args); }
#endif
