#if defined(__x86_64__)
#include "kernels/cell_maps/words_avx512.h"

#include "kernels/cell_maps/maps.h"
#include "kernels/cell_maps/pool.h"

void gossamer::cell_quantize_avx512(const CellQuantizeArgs& args) { quantize(args); }
void gossamer::cell_dequantize_avx512(const CellDequantizeArgs& args) { dequantize(args); }
void gossamer::byte_add_avx512(const ByteBinaryArgs& args) { add(args); }
void gossamer::byte_multiply_avx512(const ByteBinaryArgs& args) { multiply(args); }
void gossamer::byte_lookup_avx512(const ByteLookupArgs& args) { look_up(args); }
void gossamer::cell_max_pool_avx512(const CellPoolArgs& args) { max_pool(args); }
void gossamer::cell_average_pool_avx512(const CellPoolArgs& args) { average_pool(args); }
void gossamer::cell_mean_avx512(const CellMeanArgs& args) { mean(args); }
#endif
