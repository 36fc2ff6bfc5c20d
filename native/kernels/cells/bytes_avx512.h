// Cells of four bytes with AVX-512, with or without VNNI.
#pragma once

#include <immintrin.h>

#include "kernels/cells/cells.h"
#include "kernels/integer/fixed_point_avx512.h"

namespace {

constexpr int kLanes = 16;

struct Sum {
  using Element = int32_t;
  __m512i v;
  static Sum broadcast(int32_t x) { return {_mm512_set1_epi32(x)}; }
};

#if defined(__AVX512VNNI__)
constexpr auto kRegisters = gossamer::CellRegisters::many;

struct Cells {
  using Weight = __m512i;
  static constexpr int kWeightBytes = 4;
  __m512i x;

  static Cells load(const uint32_t* p) { return {_mm512_loadu_si512(p)}; }
  static __m512i weight(const char* p) { return _mm512_set1_epi32(*reinterpret_cast<const int32_t*>(p)); }
  Sum times(__m512i w, Sum sum) const { return {_mm512_dpbusd_epi32(sum.v, x, w)}; }
};
#else
constexpr auto kRegisters = gossamer::CellRegisters::halved;

struct Cells {  // vpmaddubsw would saturate: the even and the odd bytes as 16-bit numbers are exact
  struct Weight {
    __m512i even, odd;
  };
  static constexpr int kWeightBytes = 8;
  __m512i even, odd;

  static Cells load(const uint32_t* p) {
    const __m512i x = _mm512_loadu_si512(p);
    return {_mm512_and_si512(x, _mm512_set1_epi16(0xff)), _mm512_srli_epi16(x, 8)};
  }
  static Weight weight(const char* p) {
    const auto* w = reinterpret_cast<const int32_t*>(p);
    return {_mm512_set1_epi32(w[0]), _mm512_set1_epi32(w[1])};
  }
  Sum times(const Weight& w, Sum sum) const {
    const __m512i pairs = _mm512_add_epi32(_mm512_madd_epi16(even, w.even), _mm512_madd_epi16(odd, w.odd));
    return {_mm512_add_epi32(sum.v, pairs)};
  }
};
#endif

using Floats = __m512;
inline Floats to_floats(Sum x) { return _mm512_cvtepi32_ps(x.v); }
// Requantized, and held to 16 bits, which to_cells reads.
inline Sum fixed_point_16(Sum x, int32_t multiplier, int32_t right_shift) {
  const __m512i p = fixed_point(x.v, _mm512_set1_epi32(multiplier), _mm512_set1_epi32(right_shift));
  return {_mm512_min_epi32(_mm512_max_epi32(p, _mm512_set1_epi32(INT16_MIN)), _mm512_set1_epi32(INT16_MAX))};
}
inline Floats broadcast(float x) { return _mm512_set1_ps(x); }
inline Floats multiply_add(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
inline Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
inline Floats round(Floats x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
inline Floats clamp(Floats x, Floats low, Floats high) { return _mm512_min_ps(high, _mm512_max_ps(low, x)); }

// Cells of bytes, and byte k of each as a float.
using Bytes = __m512i;
inline Bytes bits_of(Sum x) { return x.v; }
template <int kByte>
inline Floats byte_of(Bytes x) {
  return _mm512_cvtepi32_ps(_mm512_and_si512(_mm512_srli_epi32(x, 8 * kByte), _mm512_set1_epi32(0xff)));
}

// Rounds half to even, adds zero, saturates to 0 .. 255, and puts byte i of a cell together from t[i].
inline Bytes to_cells(const Floats (&t)[4], int zero) {
  const __m512i z = _mm512_set1_epi16(static_cast<int16_t>(zero));
  const __m512i ab = _mm512_packs_epi32(_mm512_cvtps_epi32(t[0]), _mm512_cvtps_epi32(t[1]));
  const __m512i cd = _mm512_packs_epi32(_mm512_cvtps_epi32(t[2]), _mm512_cvtps_epi32(t[3]));
  const __m512i order = _mm512_set4_epi32(0x0f0b0703, 0x0e0a0602, 0x0d090501, 0x0c080400);
  return _mm512_shuffle_epi8(_mm512_packus_epi16(_mm512_adds_epi16(ab, z), _mm512_adds_epi16(cd, z)), order);
}
inline Bytes clamp_bytes(Bytes x, int low, int high) {
  const __m512i l = _mm512_set1_epi8(static_cast<char>(low)), h = _mm512_set1_epi8(static_cast<char>(high));
  return _mm512_min_epu8(h, _mm512_max_epu8(l, x));
}

struct Lanes;
template <int kVectors>
void finish(const gossamer::CellConvArgs& a, int64_t row, const Lanes* lanes, const Sum (&sums)[4][kVectors]);

}  // namespace

#include "kernels/cells/body.h"

namespace {

inline __mmask16 first(int count) { return static_cast<__mmask16>((1u << count) - 1u); }

// The pixels among 16 positions, to and from where they lie one after the other.
inline void store_lanes(__m512i x, void* p, const Lanes& lanes) {
  if (lanes.count == kLanes) return _mm512_storeu_si512(p, x);
  _mm512_mask_storeu_epi32(p, first(lanes.count), _mm512_maskz_compress_epi32(static_cast<__mmask16>(lanes.mask), x));
}
inline __m512i load_lanes(const void* p, const Lanes& lanes) {
  if (lanes.count == kLanes) return _mm512_loadu_si512(p);
  return _mm512_maskz_expand_epi32(static_cast<__mmask16>(lanes.mask), _mm512_maskz_loadu_epi32(first(lanes.count), p));
}
inline void store_lanes(__m512 x, float* p, const Lanes& lanes) { store_lanes(_mm512_castps_si512(x), p, lanes); }
inline __m512 load_lanes(const float* p, const Lanes& lanes) { return _mm512_castsi512_ps(load_lanes(static_cast<const void*>(p), lanes)); }

}  // namespace

#include "kernels/cells/bytes.h"
