#include "kernels/depthwise_cells/depthwise_cells.h"

namespace gossamer {

#if defined(__x86_64__)
const DepthwiseCellsKernel kDepthwiseCellsKernels[kByteRowCount] = {
    {{Isa::portable, "depthwise_cells/portable", depthwise_cells_portable}, CellForm::bytes, 4},
    {{Isa::avx2, "depthwise_cells/avx2", depthwise_cells_avx2}, CellForm::halves, 8},
    {{Isa::avx512, "depthwise_cells/avx512", depthwise_cells_avx512}, CellForm::halves, 16},
    {{Isa::avx512vnni, "depthwise_cells/avx512vnni", depthwise_cells_avx512vnni}, CellForm::bytes, 16}};
#else
const DepthwiseCellsKernel kDepthwiseCellsKernels[kByteRowCount] = {
    {{Isa::portable, "depthwise_cells/portable", depthwise_cells_portable}, CellForm::bytes, 4}};
#endif

}  // namespace gossamer
