// A product of rows of bytes with constant weights most of which are zero, by the kernel of cells: the rows are
// transposed to planes of cells, and the result back.
#pragma once

#include "runtime/cell_conv.h"

namespace gossamer {

// x W + start: m rows of k bytes, W (n x k). `conv` holds weights, sums and epilogue; its shape is filled in here.
struct SparseProduct {
  int64_t m = 0, n = 0, k = 0;
  CellConv conv;
};

// Whether it is estimated to be faster than the dense product.
bool prefers_sparse_product(const SparseProduct& product);

Step sparse_product_step(Build& b, SparseProduct product);

}  // namespace gossamer
