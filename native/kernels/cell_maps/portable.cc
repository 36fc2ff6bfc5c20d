#include "kernels/cell_maps/words_portable.h"

#include "kernels/cell_maps/maps.h"
#include "kernels/cell_maps/pool.h"

void gossamer::cell_quantize_portable(const CellQuantizeArgs& args) { quantize(args); }
void gossamer::cell_dequantize_portable(const CellDequantizeArgs& args) { dequantize(args); }
void gossamer::byte_add_portable(const ByteBinaryArgs& args) { add(args); }
void gossamer::byte_multiply_portable(const ByteBinaryArgs& args) { multiply(args); }
void gossamer::byte_lookup_portable(const ByteLookupArgs& args) { look_up(args); }
void gossamer::cell_max_pool_portable(const CellPoolArgs& args) { max_pool(args); }
void gossamer::cell_average_pool_portable(const CellPoolArgs& args) { average_pool(args); }
void gossamer::cell_mean_portable(const CellMeanArgs& args) { mean(args); }
