// The oracle of every row of kCodebookKernels: decode, then plain loops. Codes are row-major k x n here, not packed.
#pragma once

#include <vector>

#include "kernels/codebook/codebook.h"
#include "kernels/gemm/reference.h"

namespace gossamer {

inline void codebook_reference(const CodebookArgs& args) {
  GemmArgs g = args.gemm;
  std::vector<float> decoded(static_cast<size_t>(g.k * g.n));
  for (size_t i = 0; i < decoded.size(); ++i) {
    const int code = args.code_bytes == 1 ? static_cast<const uint8_t*>(args.codes)[i]
                                          : static_cast<const uint16_t*>(args.codes)[i];
    decoded[i] = args.centroids[code];
  }
  g.b = decoded.data();
  gemm_reference(g);
}

}  // namespace gossamer
