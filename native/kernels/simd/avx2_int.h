// Vectors of 32-bit integers: AVX2. See simd/portable_int.h for what each name means.
#pragma once

#include <cstring>

#include "kernels/integer/fixed_point_avx2.h"
#include "kernels/simd/avx2.h"

namespace {

struct I {
  static constexpr int kLanes = 8;
  __m256i v;

  static I zero() { return {_mm256_setzero_si256()}; }
  static I broadcast(int32_t x) { return {_mm256_set1_epi32(x)}; }
  static I load(const int32_t* p) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))}; }
  static I load(const int32_t* p, int n) { return {_mm256_maskload_epi32(p, V::mask(n))}; }
  void store(int32_t* p) const { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
  void store(int32_t* p, int n) const { _mm256_maskstore_epi32(p, V::mask(n), v); }
  static I load_bytes(const uint8_t* p, bool is_signed) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
    return {is_signed ? _mm256_cvtepi8_epi32(bytes) : _mm256_cvtepu8_epi32(bytes)};
  }
  void store_bytes(uint8_t* p) const {
    const __m256i lowest = _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,  //
                                            0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    const __m256i packed = _mm256_shuffle_epi8(v, lowest);
    const __m128i both = _mm_unpacklo_epi32(_mm256_castsi256_si128(packed), _mm256_extracti128_si256(packed, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), both);
  }
};

inline I operator+(I a, I b) { return {_mm256_add_epi32(a.v, b.v)}; }
inline I operator&(I a, I b) { return {_mm256_and_si256(a.v, b.v)}; }
inline I operator>>(I a, I n) { return {_mm256_srlv_epi32(a.v, n.v)}; }
inline I max(I a, I b) { return {_mm256_max_epi32(a.v, b.v)}; }
inline I min(I a, I b) { return {_mm256_min_epi32(a.v, b.v)}; }
inline I fixed_point(I x, I multiplier, I right_shift) { return {fixed_point(x.v, multiplier.v, right_shift.v)}; }
inline V to_float(I x) { return {_mm256_cvtepi32_ps(x.v)}; }
inline I nearest(V x) { return {_mm256_cvtps_epi32(x.v)}; }
inline V fused(V a, V b, V c) { return fma(a, b, c); }

inline constexpr int kLookupRegisters = 4;
inline V if_bit(I code, int bit, V a, V b) {
  const __m256i set = _mm256_cmpeq_epi32(_mm256_and_si256(code.v, _mm256_set1_epi32(bit)), _mm256_setzero_si256());
  return {_mm256_blendv_ps(a.v, b.v, _mm256_castsi256_ps(set))};
}
inline V either(V low, V high, I code) {
  return if_bit(code, V::kLanes, {_mm256_permutevar8x32_ps(high.v, code.v)}, {_mm256_permutevar8x32_ps(low.v, code.v)});
}

// The bytes in even and in odd places as 16-bit numbers: products of pairs then add up without saturation, which the
// instruction that multiplies bytes (vpmaddubsw) does not grant.
struct Cell {
  __m256i even, odd;
  static Cell load(const uint8_t* p) {
    int32_t bytes;
    std::memcpy(&bytes, p, 4);
    const __m256i x = _mm256_set1_epi32(bytes);
    return {_mm256_and_si256(x, _mm256_set1_epi16(255)), _mm256_srli_epi16(x, 8)};
  }
};
struct Weights {
  __m256i even, odd;
  static Weights load(const int8_t* p) {
    const __m256i w = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return {_mm256_srai_epi16(_mm256_slli_epi16(w, 8), 8), _mm256_srai_epi16(w, 8)};
  }
};
inline I dot(I sum, const Cell& x, const Weights& w) {
  const __m256i even = _mm256_madd_epi16(x.even, w.even), odd = _mm256_madd_epi16(x.odd, w.odd);
  return {_mm256_add_epi32(_mm256_add_epi32(sum.v, even), odd)};
}

}  // namespace
