// The codebook indices of a matrix's kept elements, predicted from the neighbours that are kept too.
//
// Weights that look at neighbouring pixels tend to have the same sign and size; an index says both, because centroids
// are in increasing order.
#pragma once

#include <cstdint>
#include <span>

#include "codec/bytes.h"
#include "codec/pattern.h"
#include "codec/symbols.h"

namespace gossamer::codec {

inline constexpr uint32_t kMaxValuesAlphabet = 1024;

// `symbols`: one per position, below `alphabet` (1 to kMaxValuesAlphabet). `positions`: as for encode_pattern.
Bytes encode_values(Symbols symbols, uint32_t alphabet, std::span<const int64_t> positions, Grid grid);
void decode_values(ByteView data, uint32_t alphabet, std::span<const int64_t> positions, Grid grid, SymbolsOut out);

}  // namespace gossamer::codec
