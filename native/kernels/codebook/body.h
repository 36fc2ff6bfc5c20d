// The product of gemm/body.h with a right factor that is looked up. Included once per instruction set.
#pragma once

#include "kernels/codebook/codebook.h"
#include "kernels/gemm/body.h"

namespace {

template <class Code, bool kSmall>
struct CodedRight {
  const Code* codes;
  Centroids<kSmall> centroids;
  CodedRight moved(int64_t elements) const { return {codes + elements, centroids}; }
  V at(int64_t p, int64_t width, int64_t column) const { return centroids(codes + p * width + column); }
  static V multiply(V a, V b, V sum) { return fma(a, b, sum); }
};

template <class Code, bool kSmall>
void coded_product(const gossamer::CodebookArgs& args) {
  const Centroids<kSmall> centroids(args.centroids, args.centroid_count);
  product(args.gemm, CodedRight<Code, kSmall>{static_cast<const Code*>(args.codes), centroids});
}

void codebook(const gossamer::CodebookArgs& args) {
  if (args.code_bytes == 2) return coded_product<uint16_t, false>(args);
  if constexpr (kSmallCodebook > 0) {
    if (args.centroid_count <= kSmallCodebook) return coded_product<uint8_t, true>(args);
  }
  coded_product<uint8_t, false>(args);
}

}  // namespace
