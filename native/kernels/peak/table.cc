#include "kernels/peak/peak.h"

namespace gossamer {

const Row<void (*)(const PeakArgs&)> kPeakFloatKernels[kRowCount] = GOSSAMER_ROWS("peak_floats", peak_floats);
const Row<void (*)(const PeakArgs&)> kPeakByteKernels[kByteRowCount] = GOSSAMER_BYTE_ROWS("peak_bytes", peak_bytes);

}  // namespace gossamer
