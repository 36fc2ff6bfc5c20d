// fixed_point_multiply of fixed_point.h for sixteen numbers at a time; equal to the bit. The steps are those of
// fixed_point_avx2.h.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace {

inline __m512i fixed_point(__m512i x, __m512i multiplier, __m512i right_shift) {
  const __m512i zero = _mm512_setzero_si512(), most = _mm512_set1_epi32(INT32_MAX), half = _mm512_set1_epi64(1 << 30);
  const __m512i left = _mm512_max_epi32(_mm512_sub_epi32(zero, right_shift), zero), shifted = _mm512_sllv_epi32(x, left);
  const __mmask16 kept = _mm512_cmpeq_epi32_mask(_mm512_srav_epi32(shifted, left), x);
  x = _mm512_mask_blend_epi32(kept, _mm512_xor_si512(_mm512_srai_epi32(x, 31), most), shifted);
  const __m512i even = _mm512_add_epi64(_mm512_mul_epi32(x, multiplier), half);
  const __m512i odd = _mm512_add_epi64(_mm512_mul_epi32(_mm512_srli_epi64(x, 32), _mm512_srli_epi64(multiplier, 32)), half);
  __m512i p = _mm512_mask_blend_epi32(0b1010101010101010, _mm512_srli_epi64(even, 31), _mm512_slli_epi64(odd, 1));
  p = _mm512_mask_mov_epi32(p, _mm512_cmpeq_epi32_mask(p, _mm512_set1_epi32(INT32_MIN)), most);
  const __m512i right = _mm512_max_epi32(right_shift, zero), one = _mm512_set1_epi32(1);
  const __m512i mask = _mm512_sub_epi32(_mm512_sllv_epi32(one, right), one);
  const __m512i threshold = _mm512_add_epi32(_mm512_srli_epi32(mask, 1), _mm512_srli_epi32(p, 31));
  const __mmask16 up = _mm512_cmpgt_epi32_mask(_mm512_and_si512(p, mask), threshold);
  const __m512i y = _mm512_srav_epi32(p, right);
  return _mm512_mask_add_epi32(y, up, y, one);
}

}  // namespace
