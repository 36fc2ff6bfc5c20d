// Matrix products of bfloat16, the upper half of a float32 (Kalamkar et al. 2019):
//
//   C = clamp(A' B' + bias + residual, low, high),   x' = x rounded to 8 significant bits, to the nearest, ties to even
//
// with sums in float32 (docs/numerics.md, section 11). Both factors are held as pairs: 32 bits for the elements 2 p and 2 p + 1
// along k, the first in the lower half, zero where k is odd. GemmArgs as in gemm.h, k counting pairs and the pointers a and b
// pointing at pairs. AVX512-BF16 multiplies two pairs in one instruction; elsewhere halves are widened, which is exact, so
// that every instruction set computes the same but for the order of sums (and subnormals, which that instruction takes for
// zeros).
#pragma once

#include "kernels/gemm/gemm.h"

namespace gossamer {

// to[i] = the pair of even[i step] and odd[i step]. Either step is 1, and no `odd` stands for zeros, or it is 2, and odd is
// even + 1.
struct Bf16Round {
  const float *even = nullptr, *odd = nullptr;
  int64_t step = 1, count = 0;
  uint32_t* to = nullptr;
};

struct Bf16Kernel {
  Isa isa;
  const char* name;
  void (*run)(const GemmArgs&);
  Tile tile;
  void (*round)(const Bf16Round&);
};

extern const Bf16Kernel kBf16Kernels[kByteRowCount];

// The upper half of x, rounded; NaN stays NaN. Always inlined: files of several instruction sets call it.
[[gnu::always_inline]] inline uint32_t rounded_to_bf16(float x) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, x);
  const uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16, quiet = bits >> 16 | 0x40u;
  return (bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded;
}

constexpr int64_t bf16_pairs(int64_t k) { return (k + 1) / 2; }

// alpha B(p, j), B(p, j) = b[p b_k + j b_n], to panels of `width` columns of pairs: packed_size(bf16_pairs(k), n, width) of them.
void pack_bf16(int64_t k, int64_t n, const float* b, int64_t b_k, int64_t b_n, float alpha, int width, uint32_t* packed);

// A row of k elements that lie `stride` apart to pairs that lie `pair_stride` apart.
void pack_bf16_row(int64_t k, const float* x, int64_t stride, uint32_t* pairs, int64_t pair_stride);

void bf16_portable(const GemmArgs&);
void bf16_avx2(const GemmArgs&);
void bf16_avx512(const GemmArgs&);
void bf16_avx512bf16(const GemmArgs&);
void round_bf16_portable(const Bf16Round&);
void round_bf16_avx2(const Bf16Round&);
void round_bf16_avx512(const Bf16Round&);
void round_bf16_avx512bf16(const Bf16Round&);

}  // namespace gossamer
