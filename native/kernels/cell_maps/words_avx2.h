// Vectors of eight cells of bytes, and of as many floats: AVX2. See words_avx512.h for what is not plain.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace {

constexpr int kLanes = 8;
constexpr int kVectorBytes = 32;

using Bytes = __m256i;
using Floats = __m256;

inline Bytes load_bytes(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline void store_bytes(Bytes x, void* p) { _mm256_storeu_si256(static_cast<__m256i*>(p), x); }
inline Floats load_floats(const float* p) { return _mm256_loadu_ps(p); }
inline void store_floats(Floats x, float* p) { _mm256_storeu_ps(p, x); }
inline Bytes bytes_all(int x) { return _mm256_set1_epi8(static_cast<char>(x)); }

inline Floats broadcast(float x) { return _mm256_set1_ps(x); }
inline Floats subtract(Floats a, Floats b) { return _mm256_sub_ps(a, b); }
inline Floats multiply(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
inline Floats divide(Floats a, Floats b) { return _mm256_div_ps(a, b); }
inline Floats multiply_add(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
inline Floats clamp(Floats x, float low, float high) {
  return _mm256_min_ps(_mm256_max_ps(x, _mm256_set1_ps(low)), _mm256_set1_ps(high));
}

template <int kByte>
inline Floats byte_of(Bytes x) {
  return _mm256_cvtepi32_ps(_mm256_and_si256(_mm256_srli_epi32(x, 8 * kByte), _mm256_set1_epi32(0xff)));
}
inline Bytes to_cells(const Floats (&t)[4], int zero) {
  const __m256i z = _mm256_set1_epi16(static_cast<int16_t>(zero));
  const __m256i ab = _mm256_packs_epi32(_mm256_cvtps_epi32(t[0]), _mm256_cvtps_epi32(t[1]));
  const __m256i cd = _mm256_packs_epi32(_mm256_cvtps_epi32(t[2]), _mm256_cvtps_epi32(t[3]));
  const __m256i order = _mm256_setr_epi32(0x0c080400, 0x0d090501, 0x0e0a0602, 0x0f0b0703, 0x0c080400, 0x0d090501,
                                          0x0e0a0602, 0x0f0b0703);
  return _mm256_shuffle_epi8(_mm256_packus_epi16(_mm256_adds_epi16(ab, z), _mm256_adds_epi16(cd, z)), order);
}

inline Bytes greater(Bytes a, Bytes b) { return _mm256_max_epu8(a, b); }
inline Bytes less(Bytes a, Bytes b) { return _mm256_min_epu8(a, b); }

inline Bytes every_second(const uint32_t* p) {
  const __m256 even = _mm256_shuffle_ps(_mm256_castsi256_ps(load_bytes(p)), _mm256_castsi256_ps(load_bytes(p + kLanes)), 0b10'00'10'00);
  return _mm256_permute4x64_epi64(_mm256_castps_si256(even), 0b11'01'10'00);
}

inline Bytes greater_of_pairs(Bytes a, Bytes b) {
  const __m256 x = _mm256_castsi256_ps(a), y = _mm256_castsi256_ps(b);
  const __m256i even = _mm256_castps_si256(_mm256_shuffle_ps(x, y, 0b10'00'10'00));
  const __m256i odd = _mm256_castps_si256(_mm256_shuffle_ps(x, y, 0b11'01'11'01));
  return _mm256_permute4x64_epi64(greater(even, odd), 0b11'01'10'00);
}

inline Bytes even_bytes(Bytes x) { return _mm256_and_si256(x, _mm256_set1_epi16(0xff)); }
inline Bytes odd_bytes(Bytes x) { return _mm256_srli_epi16(x, 8); }
inline Bytes add_16(Bytes a, Bytes b) { return _mm256_add_epi16(a, b); }
inline Bytes no_bytes() { return _mm256_setzero_si256(); }
template <int kHigh>
inline Floats half_of(Bytes x) {
  return _mm256_cvtepi32_ps(kHigh ? _mm256_srli_epi32(x, 16) : _mm256_and_si256(x, _mm256_set1_epi32(0xffff)));
}

inline Bytes pick(const uint8_t* sixteen, Bytes x) {
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(sixteen))), x);
}
inline Bytes either(Bytes a, Bytes b) { return _mm256_or_si256(a, b); }
inline Bytes differ(Bytes a, Bytes b) { return _mm256_xor_si256(a, b); }
inline Bytes add_saturating(Bytes a, Bytes b) { return _mm256_adds_epu8(a, b); }

}  // namespace

#include "kernels/cell_maps/entries.h"

#include "kernels/cell_maps/words_part.h"
