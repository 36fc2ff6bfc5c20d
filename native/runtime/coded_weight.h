// Weights that stay codes in memory: made while loading, packed for kernels while planning, decoded row by row.
#pragma once

#include "kernels/codes/codes.h"
#include "runtime/op.h"

namespace gossamer {

// codes(i) for i in [0, count), each below 2^bits.
template <class Code>
Codes make_codes(int64_t count, int bits, const Code& code) {
  const int64_t per_word = 32 / bits;
  Codes made{bits, allocate((count + per_word - 1) / per_word * 4)};
  auto* words = reinterpret_cast<uint32_t*>(made.words.get());
  for (int64_t i = 0; i < count; ++i) words[i / per_word] |= uint32_t{code(i)} << i % per_word * bits;
  return made;
}

// What DequantizeLinear of constants means, its integers in the fewest bits that hold them. Nothing where these are not of
// 8 bits, or the result is not float32, or too small to matter.
std::optional<CodedWeight> coded_weight(const Model& model, const Node& dequantize);

// The weight with each element multiplied by `factors` of its first dimension. Nothing where its scales lie across that one.
std::optional<CodedWeight> scaled_rows(const CodedWeight& w, const Shape& shape, const std::vector<float>& factors);

// Of a matrix of that shape.
CodedWeight transposed(const CodedWeight& w, const Shape& shape);

// Bytes of a compressed constant as it lies in memory.
int64_t compressed_bytes(const Constant& constant);

// Elements [first, first + count) of a compressed constant, in row-major order.
void decode_range(const Constant& constant, int64_t first, int64_t count, float* out);

// The constant of that input where it exists in codes alone.
const CodedWeight* coded_input(const Build& b, size_t i);

// The k x n matrix inside a weight: element (p, j) lies at p * k_stride + j * n_stride. Of `groups` such matrices, n_stride
// n apart, each has panels of its own.
struct CodedView {
  int64_t k, n, k_stride, n_stride;
  int64_t groups = 1;
  float alpha = 1;
};

struct PackedCodes {
  CodedPanels panels;  // points into what follows
  const char* kernel = "";
  std::shared_ptr<std::byte[]> words;
  std::vector<float> table, scales;
  std::vector<uint8_t> zeros;

  int64_t bytes() const;
};

// For input 1 of a node, shared by all plans. Null where the scales change along k too often to be kept apart.
std::shared_ptr<const PackedCodes> pack_coded(Build& b, const CodedWeight& w, const CodedView& view);

// Input i as float32: known, or decoded from codes into `memory`.
const float* floats_of(const Build& b, size_t i, Tensor& memory);

}  // namespace gossamer
