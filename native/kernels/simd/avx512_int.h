// Vectors of 32-bit integers: AVX-512, with its dot products of bytes where the file is compiled for them. See
// simd/portable_int.h for what each name means.
#pragma once

#include <cstring>

#include "kernels/integer/fixed_point_avx512.h"
#include "kernels/simd/avx512.h"

namespace {

struct I {
  static constexpr int kLanes = 16;
  __m512i v;

  static I zero() { return {_mm512_setzero_si512()}; }
  static I broadcast(int32_t x) { return {_mm512_set1_epi32(x)}; }
  static I load(const int32_t* p) { return {_mm512_loadu_si512(p)}; }
  static I load(const int32_t* p, int n) { return {_mm512_maskz_loadu_epi32(V::mask(n), p)}; }
  void store(int32_t* p) const { _mm512_storeu_si512(p, v); }
  void store(int32_t* p, int n) const { _mm512_mask_storeu_epi32(p, V::mask(n), v); }
  static I load_bytes(const uint8_t* p, bool is_signed) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return {is_signed ? _mm512_cvtepi8_epi32(bytes) : _mm512_cvtepu8_epi32(bytes)};
  }
  void store_bytes(uint8_t* p) const { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(v)); }
};

inline I operator+(I a, I b) { return {_mm512_add_epi32(a.v, b.v)}; }
inline I operator&(I a, I b) { return {_mm512_and_si512(a.v, b.v)}; }
inline I operator>>(I a, I n) { return {_mm512_srlv_epi32(a.v, n.v)}; }
inline I max(I a, I b) { return {_mm512_max_epi32(a.v, b.v)}; }
inline I min(I a, I b) { return {_mm512_min_epi32(a.v, b.v)}; }
inline I fixed_point(I x, I multiplier, I right_shift) { return {fixed_point(x.v, multiplier.v, right_shift.v)}; }
inline V to_float(I x) { return {_mm512_cvtepi32_ps(x.v)}; }
inline I nearest(V x) { return {_mm512_cvtps_epi32(x.v)}; }
inline V fused(V a, V b, V c) { return fma(a, b, c); }

inline constexpr int kLookupRegisters = 16;
inline V if_bit(I code, int bit, V a, V b) {
  return {_mm512_mask_blend_ps(_mm512_test_epi32_mask(code.v, _mm512_set1_epi32(bit)), b.v, a.v)};
}
inline V either(V low, V high, I code) { return {_mm512_permutex2var_ps(low.v, code.v, high.v)}; }

#if defined(__AVX512VNNI__)
struct Cell {
  __m512i v;
  static Cell load(const uint8_t* p) {
    int32_t bytes;
    std::memcpy(&bytes, p, 4);
    return {_mm512_set1_epi32(bytes)};
  }
};
struct Weights {
  __m512i v;
  static Weights load(const int8_t* p) { return {_mm512_loadu_si512(p)}; }
};
inline I dot(I sum, const Cell& x, const Weights& w) { return {_mm512_dpbusd_epi32(sum.v, x.v, w.v)}; }
#else
struct Cell {  // even and odd bytes apart, as in simd/avx2_int.h
  __m512i even, odd;
  static Cell load(const uint8_t* p) {
    int32_t bytes;
    std::memcpy(&bytes, p, 4);
    const __m512i x = _mm512_set1_epi32(bytes);
    return {_mm512_and_si512(x, _mm512_set1_epi16(255)), _mm512_srli_epi16(x, 8)};
  }
};
struct Weights {
  __m512i even, odd;
  static Weights load(const int8_t* p) {
    const __m512i w = _mm512_loadu_si512(p);
    return {_mm512_srai_epi16(_mm512_slli_epi16(w, 8), 8), _mm512_srai_epi16(w, 8)};
  }
};
inline I dot(I sum, const Cell& x, const Weights& w) {
  const __m512i even = _mm512_madd_epi16(x.even, w.even), odd = _mm512_madd_epi16(x.odd, w.odd);
  return {_mm512_add_epi32(_mm512_add_epi32(sum.v, even), odd)};
}
#endif

}  // namespace
