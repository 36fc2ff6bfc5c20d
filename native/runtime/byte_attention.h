// Attention whose operands a quantized network rounds to bytes, in bytes: both products through kernels/qgemm.
//
// With zero points z and the bytes of K and V held as signed ones, k' = k - 128 and z_k' = z_k - 128:
//   Σ_d (q - z_q) (k - z_k) = Σ q k' - z_q Σ k' + D z_q z_k' - z_k' Σ q,
// the second and third term belonging to a column of the scores, the last one to a row; and so for weights and V.
#pragma once

#include "runtime/attention.h"
#include "runtime/op.h"

namespace gossamer {

// Whether q, k, v and the weights are rounded to bytes, rows of them lie together, and sums fit 32 bits.
bool bytes_hold(const Attention& a);

Step byte_attention_step(Build& b, const Attention& a);

}  // namespace gossamer
