#if defined(__x86_64__)
#include "kernels/simd/avx2_int.h"

#include "kernels/bytes/body.h"

void gossamer::byte_quantize_avx2(const ByteQuantizeArgs& args) { quantize(args); }
void gossamer::byte_dequantize_avx2(const ByteDequantizeArgs& args) { dequantize(args); }
#endif
