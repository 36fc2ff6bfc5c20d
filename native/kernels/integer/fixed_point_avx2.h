// fixed_point_multiply of fixed_point.h for eight numbers at a time; equal to the bit.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace {

inline __m256i fixed_point(__m256i x, __m256i multiplier, __m256i right_shift) {
  const __m256i zero = _mm256_setzero_si256(), most = _mm256_set1_epi32(INT32_MAX), half = _mm256_set1_epi64x(1 << 30);
  // To the left, saturating: what does not come back has lost bits.
  const __m256i left = _mm256_max_epi32(_mm256_sub_epi32(zero, right_shift), zero), shifted = _mm256_sllv_epi32(x, left);
  const __m256i kept = _mm256_cmpeq_epi32(_mm256_srav_epi32(shifted, left), x);
  x = _mm256_blendv_epi8(_mm256_xor_si256(_mm256_srai_epi32(x, 31), most), shifted, kept);
  // Bits 31 to 62 of the products, which are -2^31 where both factors were: then the greatest number.
  const __m256i even = _mm256_add_epi64(_mm256_mul_epi32(x, multiplier), half);
  const __m256i odd = _mm256_add_epi64(_mm256_mul_epi32(_mm256_srli_epi64(x, 32), _mm256_srli_epi64(multiplier, 32)), half);
  __m256i p = _mm256_blend_epi32(_mm256_srli_epi64(even, 31), _mm256_slli_epi64(odd, 1), 0b10101010);
  p = _mm256_xor_si256(p, _mm256_cmpeq_epi32(p, _mm256_set1_epi32(INT32_MIN)));
  // To the right, half away from zero.
  const __m256i right = _mm256_max_epi32(right_shift, zero);
  const __m256i mask = _mm256_sub_epi32(_mm256_sllv_epi32(_mm256_set1_epi32(1), right), _mm256_set1_epi32(1));
  const __m256i threshold = _mm256_add_epi32(_mm256_srli_epi32(mask, 1), _mm256_srli_epi32(p, 31));
  const __m256i up = _mm256_cmpgt_epi32(_mm256_and_si256(p, mask), threshold);
  return _mm256_sub_epi32(_mm256_srav_epi32(p, right), up);
}

}  // namespace
