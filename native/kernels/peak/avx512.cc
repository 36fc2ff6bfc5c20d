#if defined(__x86_64__)
#include "kernels/simd/avx512.h"

// The compiler must take `x`, in its register, for changed.
#define GOSSAMER_OPAQUE(x) asm volatile("" : "+v"(x))
#include "kernels/peak/floats.h"

namespace {

struct ByteChain {  // three instructions for 64 products, as in avx2.cc
  static constexpr int kProducts = 64;
  struct Factors {
    __m512i x, y;
    Factors(int a, int b) : x(_mm512_set1_epi32(four_times(a))), y(_mm512_set1_epi32(four_times(b))) {}
  };
  __m512i value = _mm512_setzero_si512();

  void step(Factors& f) {
    GOSSAMER_OPAQUE(f.x);
    const __m512i pairs = _mm512_madd_epi16(_mm512_maddubs_epi16(f.x, f.y), _mm512_set1_epi16(1));
    value = _mm512_add_epi32(value, pairs);
  }
  double sum() const { return _mm512_reduce_add_epi32(value); }
};

}  // namespace

namespace gossamer {
void peak_floats_avx512(const PeakArgs& args) { ::peak<FloatChain>(args); }
void peak_bytes_avx512(const PeakArgs& args) { ::peak<ByteChain>(args); }
}  // namespace gossamer
#endif
