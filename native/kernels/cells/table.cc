#include "kernels/cells/cells.h"

namespace gossamer {

#if defined(__x86_64__)
const CellKernel kCellFloatKernels[kRowCount] = {
    {{Isa::portable, "cell_floats/portable", cell_floats_portable}, CellForm::floats, 4, CellRegisters::few},
    {{Isa::avx2, "cell_floats/avx2", cell_floats_avx2}, CellForm::floats, 8, CellRegisters::few},
    {{Isa::avx512, "cell_floats/avx512", cell_floats_avx512}, CellForm::floats, 16, CellRegisters::many}};

const CellKernel kCellByteKernels[kByteRowCount] = {
    {{Isa::portable, "cell_bytes/portable", cell_bytes_portable}, CellForm::bytes, 4, CellRegisters::few},
    {{Isa::avx2, "cell_bytes/avx2", cell_bytes_avx2}, CellForm::halves, 8, CellRegisters::few},
    {{Isa::avx512, "cell_bytes/avx512", cell_bytes_avx512}, CellForm::halves, 16, CellRegisters::halved},
    {{Isa::avx512vnni, "cell_bytes/avx512vnni", cell_bytes_avx512vnni}, CellForm::bytes, 16, CellRegisters::many}};
#else
const CellKernel kCellFloatKernels[kRowCount] = {
    {{Isa::portable, "cell_floats/portable", cell_floats_portable}, CellForm::floats, 4, CellRegisters::few}};

const CellKernel kCellByteKernels[kByteRowCount] = {
    {{Isa::portable, "cell_bytes/portable", cell_bytes_portable}, CellForm::bytes, 4, CellRegisters::few}};
#endif

}  // namespace gossamer
