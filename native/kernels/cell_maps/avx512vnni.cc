#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels/cell_maps/cell_maps.h"

namespace {

// The whole table in four registers. Most machines with VNNI have VBMI as well; the first ones did not.
[[gnu::target("avx512vbmi")]] void look_up_in_registers(const gossamer::ByteLookupArgs& a) {
  __m512i table[4];
  for (int i = 0; i < 4; ++i) table[i] = _mm512_loadu_si512(a.table + 64 * i);
  for (int64_t i = 0; i < a.bytes; i += 64) {
    const int64_t left = a.bytes - i;
    const __mmask64 there = left >= 64 ? ~__mmask64{0} : (__mmask64{1} << left) - 1;
    const __m512i x = _mm512_maskz_loadu_epi8(there, a.x + i);
    const __m512i low = _mm512_permutex2var_epi8(table[0], x, table[1]), high = _mm512_permutex2var_epi8(table[2], x, table[3]);
    _mm512_mask_storeu_epi8(a.y + i, there, _mm512_mask_blend_epi8(_mm512_movepi8_mask(x), low, high));
  }
}

}  // namespace

void gossamer::byte_lookup_avx512vnni(const ByteLookupArgs& args) {
  machine_permutes_bytes() ? look_up_in_registers(args) : byte_lookup_avx512(args);
}
#endif
