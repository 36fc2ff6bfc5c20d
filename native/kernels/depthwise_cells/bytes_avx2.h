// Four channels of eight pixels with AVX2.
#pragma once

#include <immintrin.h>

#include "kernels/depthwise_cells/depthwise_cells.h"
#include "kernels/integer/fixed_point_avx2.h"

namespace {

constexpr int kLanes = 8;
constexpr int kTapBytes = gossamer::depthwise_tap_bytes(gossamer::CellForm::halves);

using Sum = __m256i;
using Floats = __m256;
using Bytes = __m256i;
using Cells = __m256i;

inline __m256i in_each_lane(__m128i x) { return _mm256_broadcastsi128_si256(x); }
inline __m256i in_each_lane(int a, int b, int c, int d) { return _mm256_setr_epi32(a, b, c, d, a, b, c, d); }
inline __m128i load_128(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }

inline Cells load_cells(const uint32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }

struct Taps {
  __m256i pair, last;
};
inline Taps load_taps(const char* p) { return {in_each_lane(load_128(p)), in_each_lane(load_128(p + 16))}; }

// Byte c of the cells kFirst, kFirst + 1 and kFirst + 2 to channel c; in 16 bits, for vpmaddubsw would saturate.
template <int kFirst>
inline Sum multiply(Cells x, const Taps& taps, Sum sum) {
  const int z = static_cast<int>(0x80008000), first = kFirst * 4;
  const __m256i pair = in_each_lane(z | first | (first + 4) << 16, z | (first + 1) | (first + 5) << 16,
                                    z | (first + 2) | (first + 6) << 16, z | (first + 3) | (first + 7) << 16);
  const int none = static_cast<int>(0x80808000);
  const __m256i last = in_each_lane(none | (first + 8), none | (first + 9), none | (first + 10), none | (first + 11));
  sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_shuffle_epi8(x, pair), taps.pair));
  return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_shuffle_epi8(x, last), taps.last));
}

inline Sum load_sums(const int32_t* p) { return in_each_lane(load_128(p)); }
inline Floats load_floats(const float* p) { return _mm256_castsi256_ps(in_each_lane(load_128(p))); }
inline Floats to_floats(Sum x) { return _mm256_cvtepi32_ps(x); }
// Requantized, and held to 16 bits, which to_cells reads.
inline Sum fixed_point_16(Sum x, Sum multiplier, Sum right_shift) {
  const Sum p = fixed_point(x, multiplier, right_shift);
  return _mm256_min_epi32(_mm256_max_epi32(p, _mm256_set1_epi32(INT16_MIN)), _mm256_set1_epi32(INT16_MAX));
}
inline Floats broadcast(float x) { return _mm256_set1_ps(x); }
inline Floats multiply_add(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
inline Floats round(Floats x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
inline Floats clamp(Floats x, Floats low, Floats high) { return _mm256_min_ps(high, _mm256_max_ps(low, x)); }

// The four bytes that belong to vector kVector of a lane.
template <int kVector>
inline Floats bytes_of(Bytes x) {
  const int k = kVector * 4, none = static_cast<int>(0x80808000);
  return _mm256_cvtepi32_ps(_mm256_shuffle_epi8(x, in_each_lane(none | k, none | (k + 1), none | (k + 2), none | (k + 3))));
}
// Rounds half to even, adds zero, saturates to 0 .. 255.
inline Bytes to_cells(const Floats (&t)[4], int zero) {
  const __m256i z = _mm256_set1_epi16(static_cast<int16_t>(zero));
  const __m256i ab = _mm256_packs_epi32(_mm256_cvtps_epi32(t[0]), _mm256_cvtps_epi32(t[1]));
  const __m256i cd = _mm256_packs_epi32(_mm256_cvtps_epi32(t[2]), _mm256_cvtps_epi32(t[3]));
  return _mm256_packus_epi16(_mm256_adds_epi16(ab, z), _mm256_adds_epi16(cd, z));
}
inline Bytes clamp_bytes(Bytes x, int low, int high) {
  const __m256i l = _mm256_set1_epi8(static_cast<char>(low)), h = _mm256_set1_epi8(static_cast<char>(high));
  return _mm256_min_epu8(h, _mm256_max_epu8(l, x));
}

// Between the order of pixels and that of add_segment<kStep>: its own inverse.
template <int kStep>
inline Bytes from_lanes(Bytes x) {
  return kStep == 1 ? x : _mm256_permute4x64_epi64(x, 0b11'01'10'00);
}
template <int kStep>
inline Bytes to_lanes(Bytes x) {
  return from_lanes<kStep>(x);
}

inline Bytes load_pixels(const uint32_t* p, const gossamer::CellBlock& block) {
  if (block.count == kLanes) return load_cells(p);
  uint32_t all[kLanes] = {};
  for (int i = 0; i < kLanes; ++i) {
    if (block.mask >> i & 1u) all[i] = *p++;
  }
  return load_cells(all);
}
inline void store_pixels(Bytes x, uint32_t* p, const gossamer::CellBlock& block) {
  if (block.count == kLanes) return _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x);
  uint32_t all[kLanes];
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(all), x);
  for (int i = 0; i < kLanes; ++i) {
    if (block.mask >> i & 1u) *p++ = all[i];
  }
}

}  // namespace

#include "kernels/depthwise_cells/body.h"
