#if defined(__x86_64__)
#include "kernels/simd/avx512_int.h"

#include "kernels/bytes/body.h"

void gossamer::byte_quantize_avx512(const ByteQuantizeArgs& args) { quantize(args); }
void gossamer::byte_dequantize_avx512(const ByteDequantizeArgs& args) { dequantize(args); }
#endif
