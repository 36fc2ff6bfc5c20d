#include "kernels/cell_maps/cell_maps.h"

namespace gossamer {

const Row<void (*)(const CellQuantizeArgs&)> kCellQuantizeKernels[kRowCount] = GOSSAMER_ROWS("cell_quantize", cell_quantize);
const Row<void (*)(const CellDequantizeArgs&)> kCellDequantizeKernels[kRowCount] = GOSSAMER_ROWS("cell_dequantize", cell_dequantize);
const Row<void (*)(const ByteBinaryArgs&)> kByteAddKernels[kRowCount] = GOSSAMER_ROWS("byte_add", byte_add);
const Row<void (*)(const ByteBinaryArgs&)> kByteMultiplyKernels[kRowCount] = GOSSAMER_ROWS("byte_multiply", byte_multiply);
const Row<void (*)(const ByteLookupArgs&)> kByteLookupKernels[kByteRowCount] = GOSSAMER_BYTE_ROWS("byte_lookup", byte_lookup);
const Row<void (*)(const CellPoolArgs&)> kCellMaxPoolKernels[kRowCount] = GOSSAMER_ROWS("cell_max_pool", cell_max_pool);
const Row<void (*)(const CellPoolArgs&)> kCellAveragePoolKernels[kRowCount] = GOSSAMER_ROWS("cell_average_pool", cell_average_pool);
const Row<void (*)(const CellMeanArgs&)> kCellMeanKernels[kRowCount] = GOSSAMER_ROWS("cell_mean", cell_mean);

// The widest row of padded columns that a window reads, and two vectors that are read or written behind it; twice for
// averages, whose sums are two halves of a cell; and how many columns each average has.
int64_t cell_pool_scratch(const CellPoolArgs& a) {
  const int64_t reach = (a.out_w - 1) * a.stride_w + (a.kernel_w - 1) * a.dilation_w + 1;
  const int64_t width = (reach > a.pad_left + a.in_w ? reach : a.pad_left + a.in_w) + 2 * 16;
  return 2 * width + a.out_w + 16;
}

}  // namespace gossamer
