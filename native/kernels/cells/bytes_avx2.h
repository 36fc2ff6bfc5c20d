// Cells of four bytes with AVX2.
#pragma once

#include <immintrin.h>

#include "kernels/cells/cells.h"
#include "kernels/integer/fixed_point_avx2.h"

namespace {

constexpr int kLanes = 8;
constexpr auto kRegisters = gossamer::CellRegisters::few;

struct Sum {
  using Element = int32_t;
  __m256i v;
  static Sum broadcast(int32_t x) { return {_mm256_set1_epi32(x)}; }
};

struct Cells {  // vpmaddubsw would saturate: the even and the odd bytes as 16-bit numbers are exact
  struct Weight {
    __m256i even, odd;
  };
  static constexpr int kWeightBytes = 8;
  __m256i even, odd;

  static Cells load(const uint32_t* p) {
    const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return {_mm256_and_si256(x, _mm256_set1_epi16(0xff)), _mm256_srli_epi16(x, 8)};
  }
  static Weight weight(const char* p) {
    const auto* w = reinterpret_cast<const int32_t*>(p);
    return {_mm256_set1_epi32(w[0]), _mm256_set1_epi32(w[1])};
  }
  Sum times(const Weight& w, Sum sum) const {
    const __m256i pairs = _mm256_add_epi32(_mm256_madd_epi16(even, w.even), _mm256_madd_epi16(odd, w.odd));
    return {_mm256_add_epi32(sum.v, pairs)};
  }
};

using Floats = __m256;
inline Floats to_floats(Sum x) { return _mm256_cvtepi32_ps(x.v); }
// Requantized, and held to 16 bits, which to_cells reads.
inline Sum fixed_point_16(Sum x, int32_t multiplier, int32_t right_shift) {
  const __m256i p = fixed_point(x.v, _mm256_set1_epi32(multiplier), _mm256_set1_epi32(right_shift));
  return {_mm256_min_epi32(_mm256_max_epi32(p, _mm256_set1_epi32(INT16_MIN)), _mm256_set1_epi32(INT16_MAX))};
}
inline Floats broadcast(float x) { return _mm256_set1_ps(x); }
inline Floats multiply_add(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
inline Floats add(Floats a, Floats b) { return _mm256_add_ps(a, b); }
inline Floats round(Floats x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
inline Floats clamp(Floats x, Floats low, Floats high) { return _mm256_min_ps(high, _mm256_max_ps(low, x)); }

using Bytes = __m256i;
template <int kByte>
inline Floats byte_of(Bytes x) {
  return _mm256_cvtepi32_ps(_mm256_and_si256(_mm256_srli_epi32(x, 8 * kByte), _mm256_set1_epi32(0xff)));
}
// Rounds half to even, adds zero, saturates to 0 .. 255, and puts byte i of a cell together from t[i].
inline Bytes to_cells(const Floats (&t)[4], int zero) {
  const __m256i z = _mm256_set1_epi16(static_cast<int16_t>(zero));
  const __m256i ab = _mm256_packs_epi32(_mm256_cvtps_epi32(t[0]), _mm256_cvtps_epi32(t[1]));
  const __m256i cd = _mm256_packs_epi32(_mm256_cvtps_epi32(t[2]), _mm256_cvtps_epi32(t[3]));
  const __m256i order = _mm256_setr_epi32(0x0c080400, 0x0d090501, 0x0e0a0602, 0x0f0b0703, 0x0c080400, 0x0d090501,
                                          0x0e0a0602, 0x0f0b0703);
  return _mm256_shuffle_epi8(_mm256_packus_epi16(_mm256_adds_epi16(ab, z), _mm256_adds_epi16(cd, z)), order);
}
inline Bytes clamp_bytes(Bytes x, int low, int high) {
  const __m256i l = _mm256_set1_epi8(static_cast<char>(low)), h = _mm256_set1_epi8(static_cast<char>(high));
  return _mm256_min_epu8(h, _mm256_max_epu8(l, x));
}
inline void store_all(Bytes x, uint32_t* p) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x); }
inline Bytes load_all(const uint32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
inline Bytes bits_of(Sum x) { return x.v; }
inline Bytes bits_of(Floats x) { return _mm256_castps_si256(x); }
inline Floats floats_of(Bytes x) { return _mm256_castsi256_ps(x); }

}  // namespace

#include "kernels/cells/lanes.h"
