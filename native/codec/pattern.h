// Which elements of a sparse matrix are kept, one bit each, predicted from the columns, the rows and the neighbours.
//
// Pruned networks are far from uniformly sparse: inputs that carry nothing lose whole columns, some neurons keep many
// more weights than others, and where inputs are pixels their neighbours behave alike.
#pragma once

#include <cstdint>
#include <span>

#include "codec/bytes.h"

namespace gossamer::codec {

// Elements are in row-major order. `stride`: the distance between columns that are vertical neighbours (28 when a row's
// inputs are the pixels of a 28x28 picture), 0 for none; at most `columns`.
struct Grid {
  uint64_t rows;
  uint64_t columns;
  uint64_t stride;

  // Throws CodecError unless the sizes are usable: what both coders of matrices do first.
  void check(size_t kept) const;
};

// `positions`: strictly increasing, below rows * columns.
Bytes encode_pattern(std::span<const int64_t> positions, Grid grid);

// Finds exactly out.size() positions, or throws CodecError. Works in O(columns + stride) bytes of memory.
void decode_pattern(ByteView data, Grid grid, std::span<int64_t> out);

}  // namespace gossamer::codec
