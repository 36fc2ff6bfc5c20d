#if defined(__x86_64__)
#include "kernels/simd/avx2.h"

// The compiler must take `x`, in its register, for changed.
#define GOSSAMER_OPAQUE(x) asm volatile("" : "+x"(x))
#include "kernels/peak/floats.h"

namespace {

struct ByteChain {  // three instructions for 32 products: the fewest that AVX2 has, although they may saturate
  static constexpr int kProducts = 32;
  struct Factors {
    __m256i x, y;
    Factors(int a, int b) : x(_mm256_set1_epi32(four_times(a))), y(_mm256_set1_epi32(four_times(b))) {}
  };
  __m256i value = _mm256_setzero_si256();

  void step(Factors& f) {
    GOSSAMER_OPAQUE(f.x);
    const __m256i pairs = _mm256_madd_epi16(_mm256_maddubs_epi16(f.x, f.y), _mm256_set1_epi16(1));
    value = _mm256_add_epi32(value, pairs);
  }
  double sum() const { return 8.0 * _mm256_extract_epi32(value, 0); }
};

}  // namespace

namespace gossamer {
void peak_floats_avx2(const PeakArgs& args) { ::peak<FloatChain>(args); }
void peak_bytes_avx2(const PeakArgs& args) { ::peak<ByteChain>(args); }
}  // namespace gossamer
#endif
