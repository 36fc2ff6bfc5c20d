#include "kernels/cell_maps/cell_maps.h"

namespace gossamer {

const Row<void (*)(const CellQuantizeArgs&)> kCellQuantizeKernels[kRowCount] = GOSSAMER_ROWS("cell_quantize", cell_quantize);
const Row<void (*)(const CellDequantizeArgs&)> kCellDequantizeKernels[kRowCount] = GOSSAMER_ROWS("cell_dequantize", cell_dequantize);
const Row<void (*)(const ByteAddArgs&)> kByteAddKernels[kRowCount] = GOSSAMER_ROWS("byte_add", byte_add);
const Row<void (*)(const CellMaxPoolArgs&)> kCellMaxPoolKernels[kRowCount] = GOSSAMER_ROWS("cell_max_pool", cell_max_pool);
const Row<void (*)(const CellMeanArgs&)> kCellMeanKernels[kRowCount] = GOSSAMER_ROWS("cell_mean", cell_mean);

}  // namespace gossamer
