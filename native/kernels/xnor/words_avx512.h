// Words and signs in AVX-512, with or without the instruction that counts bits.
#pragma once

#include "kernels/simd/avx512_int.h"

namespace {

constexpr int kXorAnd = 0x28;  // (a ^ b) & c, as a table of three bits

inline I minus(I a, I b) { return {_mm512_sub_epi32(a.v, b.v)}; }
inline I differing(I a, I b) { return {_mm512_xor_si512(a.v, b.v)}; }
inline I differing(I a, I b, I mask) { return {_mm512_ternarylogic_epi32(a.v, b.v, mask.v, kXorAnd)}; }
inline uint32_t signs_of(V x, V limit) { return _mm512_cmp_ps_mask(x.v, limit.v, _CMP_GE_OQ); }
inline I marked(V x, V limit, I bit) { return {_mm512_maskz_mov_epi32(_mm512_cmp_ps_mask(x.v, limit.v, _CMP_GE_OQ), bit.v)}; }

}  // namespace
