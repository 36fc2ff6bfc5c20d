// Compressed weights in the form that the sparse and codebook kernels read.
#pragma once

#include "kernels/sparse/sparse.h"
#include "runtime/op.h"

namespace gossamer {

// The k x n matrix inside a weight: element (p, j) lies at p * k_stride + j * n_stride; alpha scales it.
struct MatrixView {
  int64_t k, n, k_stride, n_stride;
  float alpha;
  int width;  // of a panel; sparse: unused
};

struct PackedCodebook {
  std::shared_ptr<std::byte[]> codes;
  std::vector<float> centroids;
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

std::shared_ptr<const PackedCodebook> pack_codebook(Build& b, const CodebookWeight& w, const MatrixView& view);
std::shared_ptr<const PackedSparse> pack_sparse(Build& b, const SparseWeight& w, const MatrixView& view);

}  // namespace gossamer
