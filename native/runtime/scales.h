// Which scale of a quantized tensor goes with which element (QuantizeLinear, DequantizeLinear).
#pragma once

#include "runtime/model.h"

namespace gossamer {

// From a QuantizeLinear or DequantizeLinear of a tensor of shape x. ShapeError, ModelError.
ScaleLayout scale_layout(const Node& node, const Shape& x, const Shape& scale);

}  // namespace gossamer
