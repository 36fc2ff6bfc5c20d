#if defined(__x86_64__)
#include <immintrin.h>

#include <cstdint>

namespace {

struct Halves {
  static constexpr int kLanes = 8;
  static void widen(const uint16_t* x, float* y) {
    _mm256_storeu_ps(y, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x))));
  }
  static void narrow(const float* x, uint16_t* y) {
    const __m128i half = _mm256_cvtps_ph(_mm256_loadu_ps(x), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(y), half);
  }
};

}  // namespace

#include "kernels/half/body.h"

void gossamer::half_to_float_avx2(const HalfToFloatArgs& args) { half_to_float(args); }
void gossamer::float_to_half_avx2(const FloatToHalfArgs& args) { float_to_half(args); }
#endif
