// Dense convolution of bytes as a product whose left factor is read through offset tables ("The Indirect Convolution
// Algorithm", Dukhan 2019): no matrix of patches, and tiles of any number of pixels, which wastes nothing on small images.
#pragma once

#include "runtime/cell_conv.h"

namespace gossamer {

// Whether it is estimated to be faster than the kernel of cells, which computes whole vectors of positions.
bool prefers_product(const CellConv& conv, const CellPlanes& planes, int lanes);

Step product_conv_step(Build& b, const CellConv& conv, const CellPlanes& planes);

}  // namespace gossamer
