// Products of float32 matrices, for the operators that are written with them.
#pragma once

#include "runtime/op.h"

namespace gossamer {

// C (m x n) = A (m x k) B (k x n), for `batch` pairs of matrices.
struct Product {
  int64_t m = 0, n = 0, k = 0;
  int64_t a_row = 0, a_k = 1;
  int64_t b_k = 0, b_n = 1;
  float alpha = 1;
  Slot bias = kNoSlot;  // per column
  Slot residual = kNoSlot;
  std::vector<int64_t> a_offsets, b_offsets;  // of each pair, in elements; empty: one pair at zero
  Slot a = kNoSlot, b = kNoSlot, c = kNoSlot;  // where they are not the node's inputs and output

  bool is_moved() const { return a != kNoSlot || b != kNoSlot || c != kNoSlot; }
};

// By the dense kernel: B is packed while planning where it is constant and one matrix, else in every run.
Step dense_product(Build& b, const Product& p);

}  // namespace gossamer
