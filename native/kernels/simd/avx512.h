// A vector of 16 floats: AVX-512 F, BW, DQ, VL. See simd/portable.h for what each name means.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace {

struct V {
  static constexpr int kLanes = 16;
  __m512 v;

  static __mmask16 mask(int n) { return static_cast<__mmask16>((1u << n) - 1u); }
  static int within(int64_t lane) { return lane < 0 ? 0 : lane > 16 ? 16 : static_cast<int>(lane); }
  static V zero() { return {_mm512_setzero_ps()}; }
  static V broadcast(float x) { return {_mm512_set1_ps(x)}; }
  static V load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static V load(const float* p, int n) { return {_mm512_maskz_loadu_ps(mask(n), p)}; }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
  void store(float* p, int n) const { _mm512_mask_storeu_ps(p, mask(n), v); }
  // Lanes of which `mask` has the bit, one after the other in memory; the others are zero.
  static V load_chosen(const float* p, uint32_t mask) {
    return {_mm512_maskz_expand_ps(static_cast<__mmask16>(mask), load(p, __builtin_popcount(mask)).v)};
  }
  void store_chosen(float* p, uint32_t mask) const {
    V{_mm512_maskz_compress_ps(static_cast<__mmask16>(mask), v)}.store(p, __builtin_popcount(mask));
  }
  static __m512i widen(const uint8_t* p, int n = 16) {
    return _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask(n), p));
  }
  static __m512i widen(const uint16_t* p, int n = 16) {
    return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask(n), p));
  }
  static __m512i widen(const uint32_t* p, int n = 16) { return _mm512_maskz_loadu_epi32(mask(n), p); }
  // Scalar loads, put together: on AMD, and on Intel with the mitigation of CVE-2022-40982, the instruction that gathers
  // takes two to four times as long.
  template <class Index>
  static V gather(const float* base, const Index* i) {
    return {_mm512_setr_ps(base[i[0]], base[i[1]], base[i[2]], base[i[3]], base[i[4]], base[i[5]], base[i[6]], base[i[7]],
                           base[i[8]], base[i[9]], base[i[10]], base[i[11]], base[i[12]], base[i[13]], base[i[14]],
                           base[i[15]])};
  }
  template <class Index>
  static V gather(const float* base, const Index* index, int n) {
    return {_mm512_mask_i32gather_ps(_mm512_setzero_ps(), mask(n), widen(index, n), base, 4)};
  }
  static V load_even(const float* p) {
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    return {_mm512_permutex2var_ps(_mm512_loadu_ps(p), even, load(p + 16, 15).v)};
  }
  static V load_even(const float* p, int n) {
    const int low = 2 * n - 1 < 16 ? 2 * n - 1 : 16;  // floats, of which the last one is the last wanted
    return load_even(p, {mask(low), mask(2 * n - 1 - low)});
  }
  using Lanes = __mmask16;
  static Lanes lanes(int64_t begin, int64_t end) { return static_cast<__mmask16>(mask(within(end)) & ~mask(within(begin))); }
  static V load(const float* p, Lanes lanes) { return {_mm512_maskz_loadu_ps(lanes, p)}; }
  struct EvenLanes {
    __mmask16 low, high;
  };
  static EvenLanes even_lanes(int64_t begin, int64_t end) {
    return {lanes(2 * begin, 2 * end - 1), lanes(2 * begin - 16, 2 * end - 17)};
  }
  static V load_even(const float* p, EvenLanes lanes) {
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    return {_mm512_permutex2var_ps(load(p, lanes.low).v, even, load(p + 16, lanes.high).v)};
  }
  float sum() const { return _mm512_reduce_add_ps(v); }
};

inline V operator+(V a, V b) { return {_mm512_add_ps(a.v, b.v)}; }
inline V operator-(V a, V b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline V operator*(V a, V b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline V operator/(V a, V b) { return {_mm512_div_ps(a.v, b.v)}; }
inline V fma(V a, V b, V c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline V max_or_b(V a, V b) { return {_mm512_max_ps(a.v, b.v)}; }
inline V min_or_b(V a, V b) { return {_mm512_min_ps(a.v, b.v)}; }
inline V if_nan(V x, V a, V b) {
  return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(x.v, x.v, _CMP_UNORD_Q), b.v, a.v)};
}
inline V if_less(V x, V y, V a, V b) {
  return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(x.v, y.v, _CMP_LT_OQ), b.v, a.v)};
}
inline V abs(V x) { return {_mm512_andnot_ps(_mm512_set1_ps(-0.0f), x.v)}; }
inline V sqrt(V x) { return {_mm512_sqrt_ps(x.v)}; }
inline V round(V x) { return {_mm512_roundscale_ps(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
inline V upper_half(V x) { return {_mm512_and_ps(x.v, _mm512_castsi512_ps(_mm512_set1_epi32(-65536)))}; }
inline V lower_half(V x) { return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(x.v), 16))}; }
inline V power_of_two(V n) {
  const __m512i exponent = _mm512_add_epi32(_mm512_cvtps_epi32(n.v), _mm512_set1_epi32(127));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(exponent, 23))};
}
// p 2^n for whole n: rounded once, also where it under- or overflows.
inline V scale_binary(V p, V n) { return {_mm512_scalef_ps(p.v, n.v)}; }

// 128 bits at a time: columns 4L .. 4L + 3 of four rows, then those of all rows side by side.
inline void transpose(V (&rows)[16]) {
  __m512 four[4][4];  // [rows 4g .. 4g + 3][column j of each 128 bits]
  for (int g = 0; g < 4; ++g) {
    const V* r = rows + 4 * g;
    const __m512d a = _mm512_castps_pd(_mm512_unpacklo_ps(r[0].v, r[1].v)), b = _mm512_castps_pd(_mm512_unpackhi_ps(r[0].v, r[1].v));
    const __m512d c = _mm512_castps_pd(_mm512_unpacklo_ps(r[2].v, r[3].v)), d = _mm512_castps_pd(_mm512_unpackhi_ps(r[2].v, r[3].v));
    four[g][0] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
    four[g][1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
    four[g][2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
    four[g][3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
  }
  for (int j = 0; j < 4; ++j) {
    const __m512 a = _mm512_shuffle_f32x4(four[0][j], four[1][j], 0x44), b = _mm512_shuffle_f32x4(four[0][j], four[1][j], 0xee);
    const __m512 c = _mm512_shuffle_f32x4(four[2][j], four[3][j], 0x44), d = _mm512_shuffle_f32x4(four[2][j], four[3][j], 0xee);
    rows[j].v = _mm512_shuffle_f32x4(a, c, 0x88);
    rows[4 + j].v = _mm512_shuffle_f32x4(a, c, 0xdd);
    rows[8 + j].v = _mm512_shuffle_f32x4(b, d, 0x88);
    rows[12 + j].v = _mm512_shuffle_f32x4(b, d, 0xdd);
  }
}

inline V split_binary(V x, V& n) {
  const __m512i bits = _mm512_castps_si512(x.v);
  const __m512i exponent = _mm512_srai_epi32(_mm512_sub_epi32(bits, _mm512_set1_epi32(0x3f3504f3)), 23);
  n.v = _mm512_cvtepi32_ps(exponent);
  return {_mm512_castsi512_ps(_mm512_sub_epi32(bits, _mm512_slli_epi32(exponent, 23)))};
}

inline constexpr int kSmallCodebook = 32;

template <bool kSmall>
struct Centroids {  // more than 32: gathered from the first cache level
  const float* table;
  Centroids(const float* centroids, int) : table(centroids) {}
  template <class Index>
  V operator()(const Index* index) const {
    return V::gather(table, index);
  }
};

template <>
struct Centroids<true> {  // up to 32: two registers
  __m512 low, high;
  Centroids(const float* centroids, int count)
      : low(V::load(centroids, count < 16 ? count : 16).v),
        high(V::load(centroids + (count < 16 ? count : 16), count < 16 ? 0 : count - 16).v) {}
  template <class Index>
  V operator()(const Index* index) const {
    return {_mm512_permutex2var_ps(low, V::widen(index), high)};
  }
};

}  // namespace
