#include "kernels/integer/requantize.h"

namespace gossamer {

const Row<void (*)(const RequantizeArgs&)> kRequantizeKernels[kRowCount] = GOSSAMER_ROWS("requantize", requantize);

}  // namespace gossamer
