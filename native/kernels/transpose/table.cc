#include "kernels/transpose/transpose.h"

namespace gossamer {

const Row<void (*)(const TransposeArgs&)> kTransposeKernels[kRowCount] = GOSSAMER_ROWS("transpose", transpose);

}  // namespace gossamer
