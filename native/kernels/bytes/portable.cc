#include "kernels/simd/portable_int.h"

#include "kernels/bytes/body.h"

void gossamer::byte_quantize_portable(const ByteQuantizeArgs& args) { quantize(args); }
void gossamer::byte_dequantize_portable(const ByteDequantizeArgs& args) { dequantize(args); }
