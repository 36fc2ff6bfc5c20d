#include "kernels/bf16/bf16.h"

namespace gossamer {

#if defined(__x86_64__)
namespace {

// Not every machine with VNNI has bfloat16.
void bf16_avx512vnni(const GemmArgs& args) { machine_multiplies_bf16() ? bf16_avx512bf16(args) : bf16_avx512(args); }
void round_bf16_avx512vnni(const Bf16Round& args) {
  machine_multiplies_bf16() ? round_bf16_avx512bf16(args) : round_bf16_avx512(args);
}

}  // namespace
#endif

const Bf16Kernel kBf16Kernels[kByteRowCount] = {
    {Isa::portable, "bf16/portable", bf16_portable, kTilePortable, round_bf16_portable},
#if defined(__x86_64__)
    {Isa::avx2, "bf16/avx2", bf16_avx2, kTileAvx2, round_bf16_avx2},
    {Isa::avx512, "bf16/avx512", bf16_avx512, kGemmAvx512, round_bf16_avx512},
    {Isa::avx512vnni, "bf16/avx512vnni", bf16_avx512vnni, kGemmAvx512, round_bf16_avx512vnni},
#endif
};

void pack_bf16(int64_t k, int64_t n, const float* b, int64_t b_k, int64_t b_n, float alpha, int width, uint32_t* packed) {
  const auto at = [&](int64_t p, int64_t j) { return p < k && j < n ? rounded_to_bf16(alpha * b[p * b_k + j * b_n]) : 0u; };
  for (int64_t column = 0; column < n; column += width) {
    for (int64_t p = 0; p < k; p += 2) {
      for (int64_t j = column; j < column + width; ++j) *packed++ = at(p, j) | at(p + 1, j) << 16;
    }
  }
}

void pack_bf16_row(int64_t k, const float* x, int64_t stride, uint32_t* pairs, int64_t pair_stride) {
  for (int64_t p = 0; p < k; p += 2) {
    const uint32_t odd = p + 1 < k ? rounded_to_bf16(x[(p + 1) * stride]) << 16 : 0u;
    pairs[p / 2 * pair_stride] = rounded_to_bf16(x[p * stride]) | odd;
  }
}

}  // namespace gossamer
