#include "kernels/attention_rows/attention_rows.h"

namespace gossamer {

const Row<void (*)(const ByteSumsArgs&)> kByteSumsKernels[kRowCount] = GOSSAMER_ROWS("byte_sums", byte_sums);
const Row<void (*)(const ByteSoftmaxArgs&)> kByteSoftmaxKernels[kRowCount] = GOSSAMER_ROWS("byte_softmax", byte_softmax);
const Row<void (*)(const SumRowsArgs&)> kSumRowsKernels[kRowCount] = GOSSAMER_ROWS("sum_rows", sum_rows);

}  // namespace gossamer
