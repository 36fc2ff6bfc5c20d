#if defined(__x86_64__)
#include "kernels/xnor/words_avx512.h"
#include "kernels/gemm/gemm.h"

namespace {
constexpr gossamer::Tile kTile{8, 32};
constexpr int64_t kMostSteps = 31;  // of at most 8 bits a byte

// As in avx2.cc.
inline I counted(I counts, I words) {
  const __m512i table = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
  const __m512i half = _mm512_set1_epi8(15);
  const __m512i low = _mm512_shuffle_epi8(table, _mm512_and_si512(words.v, half));
  const __m512i high = _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi16(words.v, 4), half));
  return {_mm512_add_epi8(counts.v, _mm512_add_epi8(low, high))};
}
inline I widened(I counts) {
  const __m512i pairs = _mm512_maddubs_epi16(counts.v, _mm512_set1_epi8(1));
  return {_mm512_madd_epi16(pairs, _mm512_set1_epi16(1))};
}
}  // namespace

#include "kernels/xnor/body.h"
#include "kernels/xnor/signs.h"

void gossamer::xnor_avx512(const XnorArgs& args) { xnor_product(args); }
void gossamer::sign_row_avx512(const SignRowArgs& args) { sign_row(args); }
void gossamer::sign_planes_avx512(const SignPlanesArgs& args) { sign_planes(args); }
#endif
