#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels/peak/body.h"

namespace {

struct ByteChain {
  static constexpr int kProducts = 64;
  struct Factors {
    __m512i x, y;
    Factors(int a, int b) : x(_mm512_set1_epi32(four_times(a))), y(_mm512_set1_epi32(four_times(b))) {}
  };
  __m512i value = _mm512_setzero_si512();

  void step(Factors& f) { value = _mm512_dpbusd_epi32(value, f.x, f.y); }
  double sum() const { return _mm512_reduce_add_epi32(value); }
};

}  // namespace

namespace gossamer {
void peak_bytes_avx512vnni(const PeakArgs& args) { ::peak<ByteChain>(args); }
}  // namespace gossamer
#endif
