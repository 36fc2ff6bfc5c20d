// Quantization and operators that only move elements, exchanged.
#pragma once

#include "runtime/model.h"

namespace gossamer {

// With one scale for the whole tensor, a Reshape (Transpose, Split's like ...) of dequantized bytes is the dequantized
// Reshape of the bytes, and the quantization of a Reshape is the Reshape of the quantized tensor. Puts the moving on the
// side of the bytes, so that DequantizeLinear and QuantizeLinear stand next to what computes.
void move_bytes_instead(Model& model);

}  // namespace gossamer
