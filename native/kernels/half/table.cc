#include "kernels/half/half.h"

namespace gossamer {

const Row<void (*)(const HalfToFloatArgs&)> kHalfToFloatKernels[kRowCount] = GOSSAMER_ROWS("half_to_float", half_to_float);
const Row<void (*)(const FloatToHalfArgs&)> kFloatToHalfKernels[kRowCount] = GOSSAMER_ROWS("float_to_half", float_to_half);

}  // namespace gossamer
