#include "kernels/sparse/sparse.h"

namespace gossamer {

const Row<void (*)(const SparseArgs&)> kSparseKernels[kRowCount] = GOSSAMER_ROWS("sparse", sparse);

}  // namespace gossamer
