#if defined(__x86_64__)
#include "kernels/cell_maps/body.h"

void gossamer::cell_quantize_avx512(const CellQuantizeArgs& args) { quantize(args); }
void gossamer::cell_dequantize_avx512(const CellDequantizeArgs& args) { dequantize(args); }
void gossamer::byte_add_avx512(const ByteAddArgs& args) { add(args); }
void gossamer::cell_max_pool_avx512(const CellMaxPoolArgs& args) { max_pool(args); }
void gossamer::cell_mean_avx512(const CellMeanArgs& args) { mean(args); }
#endif
