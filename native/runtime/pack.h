// Pruned weights in the form that the sparse kernels read.
#pragma once

#include "kernels/sparse/sparse.h"
#include "runtime/op.h"

namespace gossamer {

// The k x n matrix inside a weight: element (p, j) lies at p * k_stride + j * n_stride; alpha scales it.
struct MatrixView {
  int64_t k, n, k_stride, n_stride;
  float alpha;
};

struct PackedSparse {
  int64_t rows = 0, columns = 0;
  int index_bytes = 2, code_bytes = 0;
  std::vector<uint32_t> starts;
  std::shared_ptr<std::byte[]> indices, codes;
  std::vector<float> values;

  SparseMatrix view() const;
  int64_t bytes() const;
};

std::shared_ptr<const PackedSparse> pack_sparse(Build& b, const SparseWeight& w, const MatrixView& view);

}  // namespace gossamer
