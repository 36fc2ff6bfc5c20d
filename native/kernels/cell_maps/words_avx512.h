// Vectors of sixteen cells of bytes, and of as many floats: AVX-512.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace {

constexpr int kLanes = 16;
constexpr int kVectorBytes = 64;

using Bytes = __m512i;
using Floats = __m512;

inline Bytes load_bytes(const void* p) { return _mm512_loadu_si512(p); }
inline void store_bytes(Bytes x, void* p) { _mm512_storeu_si512(p, x); }
inline Floats load_floats(const float* p) { return _mm512_loadu_ps(p); }
inline void store_floats(Floats x, float* p) { _mm512_storeu_ps(p, x); }
// The first n elements, n at most all.
inline __mmask64 first_of(int64_t n) { return n <= 0 ? 0 : ~__mmask64{0} >> (64 - n); }
inline Floats load_part(const float* p, int64_t n) { return _mm512_maskz_loadu_ps(static_cast<__mmask16>(first_of(n)), p); }
inline void store_part(Floats x, float* p, int64_t n) { _mm512_mask_storeu_ps(p, static_cast<__mmask16>(first_of(n)), x); }
inline Bytes load_part(const uint8_t* p, int64_t n) { return _mm512_maskz_loadu_epi8(first_of(n), p); }
inline void store_part(Bytes x, uint8_t* p, int64_t n) { _mm512_mask_storeu_epi8(p, first_of(n), x); }
inline Bytes bytes_all(int x) { return _mm512_set1_epi8(static_cast<char>(x)); }

inline Floats broadcast(float x) { return _mm512_set1_ps(x); }
inline Floats subtract(Floats a, Floats b) { return _mm512_sub_ps(a, b); }
inline Floats multiply(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
inline Floats divide(Floats a, Floats b) { return _mm512_div_ps(a, b); }
inline Floats multiply_add(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
inline Floats clamp(Floats x, float low, float high) {  // NaN to low
  return _mm512_min_ps(_mm512_max_ps(x, _mm512_set1_ps(low)), _mm512_set1_ps(high));
}

// Byte k of each cell.
template <int kByte>
inline Floats byte_of(Bytes x) {
  return _mm512_cvtepi32_ps(_mm512_and_si512(_mm512_srli_epi32(x, 8 * kByte), _mm512_set1_epi32(0xff)));
}
// Rounds half to even, adds zero, saturates to 0 .. 255, and puts byte i of a cell together from t[i]. |t| < 2^31.
inline Bytes to_cells(const Floats (&t)[4], int zero) {
  const __m512i z = _mm512_set1_epi16(static_cast<int16_t>(zero));
  const __m512i ab = _mm512_packs_epi32(_mm512_cvtps_epi32(t[0]), _mm512_cvtps_epi32(t[1]));
  const __m512i cd = _mm512_packs_epi32(_mm512_cvtps_epi32(t[2]), _mm512_cvtps_epi32(t[3]));
  const __m512i order = _mm512_set4_epi32(0x0f0b0703, 0x0e0a0602, 0x0d090501, 0x0c080400);
  return _mm512_shuffle_epi8(_mm512_packus_epi16(_mm512_adds_epi16(ab, z), _mm512_adds_epi16(cd, z)), order);
}

inline Bytes greater(Bytes a, Bytes b) { return _mm512_max_epu8(a, b); }
inline Bytes less(Bytes a, Bytes b) { return _mm512_min_epu8(a, b); }

// The cells 0, 2, 4 ... of 2 kLanes.
inline Bytes every_second(const uint32_t* p) {
  const __m512i order = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  return _mm512_permutex2var_epi32(load_bytes(p), order, load_bytes(p + kLanes));
}
// Byte by byte the greater of cells 2 j and 2 j + 1 of a and b.
inline Bytes greater_of_pairs(Bytes a, Bytes b) {
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
  return greater(_mm512_permutex2var_epi32(a, even, b), _mm512_permutex2var_epi32(a, odd, b));
}

// Sums of bytes 0 and 2, and 1 and 3, of each cell, in 16 bits: 257 additions fit.
inline Bytes even_bytes(Bytes x) { return _mm512_and_si512(x, _mm512_set1_epi16(0xff)); }
inline Bytes odd_bytes(Bytes x) { return _mm512_srli_epi16(x, 8); }
inline Bytes add_16(Bytes a, Bytes b) { return _mm512_add_epi16(a, b); }
inline Bytes no_bytes() { return _mm512_setzero_si512(); }
// The low or the high 16 bits of each cell.
template <int kHigh>
inline Floats half_of(Bytes x) {
  return _mm512_cvtepi32_ps(kHigh ? _mm512_srli_epi32(x, 16) : _mm512_and_si512(x, _mm512_set1_epi32(0xffff)));
}

// 16 bytes for each lane, chosen by the low halves of the bytes of x that are below 128; else 0.
inline Bytes pick(const uint8_t* sixteen, Bytes x) {
  return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(sixteen))), x);
}
inline Bytes either(Bytes a, Bytes b) { return _mm512_or_si512(a, b); }
inline Bytes differ(Bytes a, Bytes b) { return _mm512_xor_si512(a, b); }
inline Bytes add_saturating(Bytes a, Bytes b) { return _mm512_adds_epu8(a, b); }

}  // namespace

#include "kernels/cell_maps/entries.h"
