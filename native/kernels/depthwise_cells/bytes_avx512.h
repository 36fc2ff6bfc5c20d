// Four channels of sixteen pixels with AVX-512, with or without VNNI.
#pragma once

#include <immintrin.h>

#include "kernels/depthwise_cells/depthwise_cells.h"
#include "kernels/integer/fixed_point_avx512.h"

namespace {

constexpr int kLanes = 16;

using Sum = __m512i;
using Floats = __m512;
using Bytes = __m512i;
using Cells = __m512i;

inline __m512i in_each_lane(__m128i x) { return _mm512_broadcast_i32x4(x); }
inline __m512i in_each_lane(int a, int b, int c, int d) { return _mm512_set4_epi32(d, c, b, a); }
inline __m128i load_128(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }

inline Cells load_cells(const uint32_t* p) { return _mm512_loadu_si512(p); }

#if defined(__AVX512VNNI__)
constexpr int kTapBytes = gossamer::depthwise_tap_bytes(gossamer::CellForm::bytes);
using Taps = __m512i;
inline Taps load_taps(const char* p) { return in_each_lane(load_128(p)); }

// Byte c of the cells kFirst, kFirst + 1, kFirst + 2 (and one that counts nothing) to channel c.
template <int kFirst>
inline Sum multiply(Cells x, Taps taps, Sum sum) {
  const __m512i order = kFirst == 0 ? in_each_lane(0x0c080400, 0x0d090501, 0x0e0a0602, 0x0f0b0703)
                                    : in_each_lane(0x000c0804, 0x000d0905, 0x000e0a06, 0x000f0b07);
  return _mm512_dpbusd_epi32(sum, _mm512_shuffle_epi8(x, order), taps);
}
#else
constexpr int kTapBytes = gossamer::depthwise_tap_bytes(gossamer::CellForm::halves);
struct Taps {
  __m512i pair, last;
};
inline Taps load_taps(const char* p) { return {in_each_lane(load_128(p)), in_each_lane(load_128(p + 16))}; }

template <int kFirst>
inline Sum multiply(Cells x, const Taps& taps, Sum sum) {  // in 16 bits, for vpmaddubsw would saturate
  const int z = static_cast<int>(0x80008000), first = kFirst * 4;
  const __m512i pair = in_each_lane(z | first | (first + 4) << 16, z | (first + 1) | (first + 5) << 16,
                                    z | (first + 2) | (first + 6) << 16, z | (first + 3) | (first + 7) << 16);
  const int none = static_cast<int>(0x80808000);
  const __m512i last = in_each_lane(none | (first + 8), none | (first + 9), none | (first + 10), none | (first + 11));
  sum = _mm512_add_epi32(sum, _mm512_madd_epi16(_mm512_shuffle_epi8(x, pair), taps.pair));
  return _mm512_add_epi32(sum, _mm512_madd_epi16(_mm512_shuffle_epi8(x, last), taps.last));
}
#endif

inline Sum load_sums(const int32_t* p) { return in_each_lane(load_128(p)); }
inline Floats load_floats(const float* p) { return _mm512_castsi512_ps(in_each_lane(load_128(p))); }
inline Floats to_floats(Sum x) { return _mm512_cvtepi32_ps(x); }
// Requantized, and held to 16 bits, which to_cells reads.
inline Sum fixed_point_16(Sum x, Sum multiplier, Sum right_shift) {
  const Sum p = fixed_point(x, multiplier, right_shift);
  return _mm512_min_epi32(_mm512_max_epi32(p, _mm512_set1_epi32(INT16_MIN)), _mm512_set1_epi32(INT16_MAX));
}
inline Floats broadcast(float x) { return _mm512_set1_ps(x); }
inline Floats multiply_add(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
inline Floats round(Floats x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
inline Floats clamp(Floats x, Floats low, Floats high) { return _mm512_min_ps(high, _mm512_max_ps(low, x)); }

// The four bytes that belong to vector kVector of a lane.
template <int kVector>
inline Floats bytes_of(Bytes x) {
  const int k = kVector * 4, none = static_cast<int>(0x80808000);
  return _mm512_cvtepi32_ps(_mm512_shuffle_epi8(x, in_each_lane(none | k, none | (k + 1), none | (k + 2), none | (k + 3))));
}
// Rounds half to even, adds zero, saturates to 0 .. 255.
inline Bytes to_cells(const Floats (&t)[4], int zero) {
  const __m512i z = _mm512_set1_epi16(static_cast<int16_t>(zero));
  const __m512i ab = _mm512_packs_epi32(_mm512_cvtps_epi32(t[0]), _mm512_cvtps_epi32(t[1]));
  const __m512i cd = _mm512_packs_epi32(_mm512_cvtps_epi32(t[2]), _mm512_cvtps_epi32(t[3]));
  return _mm512_packus_epi16(_mm512_adds_epi16(ab, z), _mm512_adds_epi16(cd, z));
}
inline Bytes clamp_bytes(Bytes x, int low, int high) {
  const __m512i l = _mm512_set1_epi8(static_cast<char>(low)), h = _mm512_set1_epi8(static_cast<char>(high));
  return _mm512_min_epu8(h, _mm512_max_epu8(l, x));
}

// Between the order of pixels and that of add_segment<kStep>.
template <int kStep>
inline Bytes from_lanes(Bytes x) {
  return kStep == 1 ? x : _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), x);
}
template <int kStep>
inline Bytes to_lanes(Bytes x) {
  return kStep == 1 ? x : _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7), x);
}

inline __mmask16 first_pixels(int count) { return static_cast<__mmask16>((1u << count) - 1u); }
inline Bytes load_pixels(const uint32_t* p, const gossamer::CellBlock& block) {
  if (block.count == kLanes) return _mm512_loadu_si512(p);
  return _mm512_maskz_expand_epi32(block.mask, _mm512_maskz_loadu_epi32(first_pixels(block.count), p));
}
inline void store_pixels(Bytes x, uint32_t* p, const gossamer::CellBlock& block) {
  if (block.count == kLanes) return _mm512_storeu_si512(p, x);
  _mm512_mask_storeu_epi32(p, first_pixels(block.count), _mm512_maskz_compress_epi32(block.mask, x));
}

}  // namespace

#include "kernels/depthwise_cells/body.h"
