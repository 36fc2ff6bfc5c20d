#if defined(__x86_64__)
#include "kernels/simd/avx2_int.h"
#include "kernels/gemm/gemm.h"

namespace {
constexpr gossamer::Tile kTile{4, 16};
constexpr int64_t kMostSteps = 31;  // of at most 8 bits a byte

inline I minus(I a, I b) { return {_mm256_sub_epi32(a.v, b.v)}; }
inline I differing(I a, I b) { return {_mm256_xor_si256(a.v, b.v)}; }
inline I differing(I a, I b, I mask) { return {_mm256_and_si256(_mm256_xor_si256(a.v, b.v), mask.v)}; }
// Bits of each byte: of its halves, looked up (Mula, Kurz, Lemire 2018, Faster Population Counts Using AVX2 Instructions).
inline I counted(I counts, I words) {
  const __m256i table = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
  const __m256i half = _mm256_set1_epi8(15);
  const __m256i low = _mm256_shuffle_epi8(table, _mm256_and_si256(words.v, half));
  const __m256i high = _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(words.v, 4), half));
  return {_mm256_add_epi8(counts.v, _mm256_add_epi8(low, high))};
}
inline I widened(I counts) {
  const __m256i pairs = _mm256_maddubs_epi16(counts.v, _mm256_set1_epi8(1));
  return {_mm256_madd_epi16(pairs, _mm256_set1_epi16(1))};
}
inline uint32_t signs_of(V x, V limit) { return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(x.v, limit.v, _CMP_GE_OQ))); }
inline I marked(V x, V limit, I bit) { return {_mm256_and_si256(_mm256_castps_si256(_mm256_cmp_ps(x.v, limit.v, _CMP_GE_OQ)), bit.v)}; }
}  // namespace

#include "kernels/xnor/body.h"
#include "kernels/xnor/signs.h"

void gossamer::xnor_avx2(const XnorArgs& args) { xnor_product(args); }
void gossamer::sign_row_avx2(const SignRowArgs& args) { sign_row(args); }
void gossamer::sign_planes_avx2(const SignPlanesArgs& args) { sign_planes(args); }
#endif
