#if defined(__x86_64__)
#include <immintrin.h>

#include <cstdint>

namespace {

struct Halves {
  static constexpr int kLanes = 16;
  static void widen(const uint16_t* x, float* y) {
    _mm512_storeu_ps(y, _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x))));
  }
  static void narrow(const float* x, uint16_t* y) {
    const __m256i half = _mm512_cvtps_ph(_mm512_loadu_ps(x), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(y), half);
  }
};

}  // namespace

#include "kernels/half/body.h"

void gossamer::half_to_float_avx512(const HalfToFloatArgs& args) { half_to_float(args); }
void gossamer::float_to_half_avx512(const FloatToHalfArgs& args) { float_to_half(args); }
#endif
