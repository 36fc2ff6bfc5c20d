#include "kernels/bytes/bytes.h"

namespace gossamer {

const Row<void (*)(const ByteQuantizeArgs&)> kByteQuantizeKernels[kRowCount] = GOSSAMER_ROWS("byte_quantize", byte_quantize);
const Row<void (*)(const ByteDequantizeArgs&)> kByteDequantizeKernels[kRowCount] = GOSSAMER_ROWS("byte_dequantize", byte_dequantize);

}  // namespace gossamer
