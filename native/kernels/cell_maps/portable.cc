#include "kernels/cell_maps/body.h"

void gossamer::cell_quantize_portable(const CellQuantizeArgs& args) { quantize(args); }
void gossamer::cell_dequantize_portable(const CellDequantizeArgs& args) { dequantize(args); }
void gossamer::byte_add_portable(const ByteAddArgs& args) { add(args); }
void gossamer::cell_max_pool_portable(const CellMaxPoolArgs& args) { max_pool(args); }
void gossamer::cell_mean_portable(const CellMeanArgs& args) { mean(args); }
