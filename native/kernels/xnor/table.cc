#include "kernels/xnor/xnor.h"

namespace gossamer {

#if defined(__x86_64__)
namespace {

// Not every machine with VNNI counts bits.
void xnor_avx512vnni(const XnorArgs& args) {
  static const bool counts = __builtin_cpu_supports("avx512vpopcntdq") != 0;
  counts ? xnor_avx512popcnt(args) : xnor_avx512(args);
}

}  // namespace
#endif

const XnorKernel kXnorKernels[kByteRowCount] = {
    {Isa::portable, "xnor/portable", xnor_portable, kTilePortable, sign_row_portable, sign_planes_portable},
#if defined(__x86_64__)
    {Isa::avx2, "xnor/avx2", xnor_avx2, {4, 16}, sign_row_avx2, sign_planes_avx2},
    {Isa::avx512, "xnor/avx512", xnor_avx512, {8, 32}, sign_row_avx512, sign_planes_avx512},
    {Isa::avx512vnni, "xnor/avx512vnni", xnor_avx512vnni, {8, 32}, sign_row_avx512, sign_planes_avx512},
#endif
};

void pack_signs(int64_t n, int64_t words, const int32_t* rows, int width, int32_t* panels) {
  for (int64_t column = 0; column < n; column += width) {
    for (int64_t w = 0; w < words; ++w) {
      for (int64_t j = column; j < column + width; ++j) *panels++ = j < n ? rows[j * words + w] : 0;
    }
  }
}

}  // namespace gossamer
