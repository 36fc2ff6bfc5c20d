// A vector of 8 floats: AVX2 and FMA. See simd/portable.h for what each name means.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace {

struct V {
  static constexpr int kLanes = 8;
  __m256 v;

  static __m256i mask(int n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  static int within(int64_t lane) { return lane < 0 ? 0 : lane > 8 ? 8 : static_cast<int>(lane); }
  static V zero() { return {_mm256_setzero_ps()}; }
  static V broadcast(float x) { return {_mm256_set1_ps(x)}; }
  static V load(const float* p) { return {_mm256_loadu_ps(p)}; }
  static V load(const float* p, int n) { return {_mm256_maskload_ps(p, mask(n))}; }
  void store(float* p) const { _mm256_storeu_ps(p, v); }
  void store(float* p, int n) const { _mm256_maskstore_ps(p, mask(n), v); }
  // Lanes of which `mask` has the bit, one after the other in memory; the others are zero.
  static V load_chosen(const float* p, uint32_t mask) {
    float all[kLanes] = {};
    for (int i = 0; i < kLanes; ++i) {
      if (mask >> i & 1u) all[i] = *p++;
    }
    return load(all);
  }
  void store_chosen(float* p, uint32_t mask) const {
    float all[kLanes];
    store(all);
    for (int i = 0; i < kLanes; ++i) {
      if (mask >> i & 1u) *p++ = all[i];
    }
  }
  static __m256i widen(const uint8_t* p) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  }
  static __m256i widen(const uint16_t* p) {
    return _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static __m256i widen(const uint32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  // Scalar loads, put together: on AMD, and on Intel with the mitigation of CVE-2022-40982, the instruction that gathers
  // takes two to four times as long.
  template <class Index>
  static V gather(const float* base, const Index* i) {
    return {_mm256_setr_ps(base[i[0]], base[i[1]], base[i[2]], base[i[3]], base[i[4]], base[i[5]], base[i[6]], base[i[7]])};
  }
  template <class Index>
  static V gather(const float* base, const Index* index, int n) {
    alignas(32) float lanes[8] = {};
    for (int i = 0; i < n; ++i) lanes[i] = base[index[i]];
    return load(lanes);
  }
  static V load_even(const float* p) {
    return evens(_mm256_loadu_ps(p), _mm256_loadu_ps(p + 7));  // p[7..14]: its odd lanes are even
  }
  static V load_even(const float* p, int n) { return load_even(p, even_lanes(0, n)); }
  struct Lanes {
    __m256i mask;
  };
  static Lanes lanes(int64_t begin, int64_t end) { return {_mm256_andnot_si256(mask(within(begin)), mask(within(end)))}; }
  static V load(const float* p, Lanes lanes) { return {_mm256_maskload_ps(p, lanes.mask)}; }
  struct EvenLanes {
    Lanes low, high;  // of p[0 .. 8) and of p[7 .. 15)
  };
  static EvenLanes even_lanes(int64_t begin, int64_t end) {
    return {lanes(2 * begin, 2 * end - 1), lanes(2 * begin - 7, 2 * end - 8)};
  }
  static V load_even(const float* p, EvenLanes lanes) { return evens(load(p, lanes.low).v, load(p + 7, lanes.high).v); }
  static V evens(__m256 low, __m256 high) {
    const __m256 mixed = _mm256_shuffle_ps(low, high, _MM_SHUFFLE(3, 1, 2, 0));
    return {_mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(mixed), _MM_SHUFFLE(3, 1, 2, 0)))};
  }
  float sum() const {
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
  }
};

inline V operator+(V a, V b) { return {_mm256_add_ps(a.v, b.v)}; }
inline V operator-(V a, V b) { return {_mm256_sub_ps(a.v, b.v)}; }
inline V operator*(V a, V b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline V operator/(V a, V b) { return {_mm256_div_ps(a.v, b.v)}; }
inline V fma(V a, V b, V c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
inline V max_or_b(V a, V b) { return {_mm256_max_ps(a.v, b.v)}; }
inline V min_or_b(V a, V b) { return {_mm256_min_ps(a.v, b.v)}; }
inline V if_nan(V x, V a, V b) { return {_mm256_blendv_ps(b.v, a.v, _mm256_cmp_ps(x.v, x.v, _CMP_UNORD_Q))}; }
inline V if_less(V x, V y, V a, V b) {
  return {_mm256_blendv_ps(b.v, a.v, _mm256_cmp_ps(x.v, y.v, _CMP_LT_OQ))};
}
inline V abs(V x) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), x.v)}; }
inline V sqrt(V x) { return {_mm256_sqrt_ps(x.v)}; }
inline V round(V x) { return {_mm256_round_ps(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
inline V upper_half(V x) { return {_mm256_and_ps(x.v, _mm256_castsi256_ps(_mm256_set1_epi32(-65536)))}; }
inline V lower_half(V x) { return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(x.v), 16))}; }
inline V power_of_two(V n) {
  const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n.v), _mm256_set1_epi32(127));
  return {_mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23))};
}
// p 2^n for whole n: in two factors, so that neither leaves the exponent's range.
inline V scale_binary(V p, V n) {
  const V half = round(n * V::broadcast(0.5f));
  return p * power_of_two(half) * power_of_two(n - half);
}

inline void transpose(V (&rows)[8]) {
  __m256 four[2][4];  // [rows 4g .. 4g + 3][column j of each 128 bits]
  for (int g = 0; g < 2; ++g) {
    const V* r = rows + 4 * g;
    const __m256 a = _mm256_unpacklo_ps(r[0].v, r[1].v), b = _mm256_unpackhi_ps(r[0].v, r[1].v);
    const __m256 c = _mm256_unpacklo_ps(r[2].v, r[3].v), d = _mm256_unpackhi_ps(r[2].v, r[3].v);
    four[g][0] = _mm256_shuffle_ps(a, c, _MM_SHUFFLE(1, 0, 1, 0));
    four[g][1] = _mm256_shuffle_ps(a, c, _MM_SHUFFLE(3, 2, 3, 2));
    four[g][2] = _mm256_shuffle_ps(b, d, _MM_SHUFFLE(1, 0, 1, 0));
    four[g][3] = _mm256_shuffle_ps(b, d, _MM_SHUFFLE(3, 2, 3, 2));
  }
  for (int j = 0; j < 4; ++j) {
    rows[j].v = _mm256_permute2f128_ps(four[0][j], four[1][j], 0x20);
    rows[4 + j].v = _mm256_permute2f128_ps(four[0][j], four[1][j], 0x31);
  }
}

inline V split_binary(V x, V& n) {
  const __m256i bits = _mm256_castps_si256(x.v);
  const __m256i exponent = _mm256_srai_epi32(_mm256_sub_epi32(bits, _mm256_set1_epi32(0x3f3504f3)), 23);
  n.v = _mm256_cvtepi32_ps(exponent);
  return {_mm256_castsi256_ps(_mm256_sub_epi32(bits, _mm256_slli_epi32(exponent, 23)))};
}

inline constexpr int kSmallCodebook = 16;

template <bool kSmall>
struct Centroids {  // more than 16: gathered from the first cache level
  const float* table;
  Centroids(const float* centroids, int) : table(centroids) {}
  template <class Index>
  V operator()(const Index* index) const {
    return V::gather(table, index);
  }
};

template <>
struct Centroids<true> {  // up to 16: two registers
  __m256 low, high;
  Centroids(const float* centroids, int count)
      : low(V::load(centroids, count < 8 ? count : 8).v),
        high(V::load(centroids + (count < 8 ? count : 8), count < 8 ? 0 : count - 8).v) {}
  template <class Index>
  V operator()(const Index* index) const {
    const __m256i i = V::widen(index);
    const __m256 in_high = _mm256_castsi256_ps(_mm256_slli_epi32(i, 28));  // bit 3 moved to the sign
    return {_mm256_blendv_ps(_mm256_permutevar8x32_ps(low, i), _mm256_permutevar8x32_ps(high, i), in_high)};
  }
};

}  // namespace
