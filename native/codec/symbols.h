// Coders of symbols that are independent of each other: n numbers below `alphabet` (1 to 65536), one code for all.
//
// A stream says neither its length nor how many symbols it holds; the file's structure does, and the caller has bounded
// both before `out` was allocated. Decoders throw CodecError unless the data is exactly what an encoder writes.
#pragma once

#include <cstdint>
#include <span>

#include "codec/bytes.h"

namespace gossamer::codec {

inline constexpr uint32_t kMaxAlphabet = 65536;

using Symbols = std::span<const uint16_t>;
using SymbolsOut = std::span<uint16_t>;

inline void check_alphabet(uint32_t alphabet) {
  if (alphabet < 1 || alphabet > kMaxAlphabet) throw CodecError("an alphabet must have 1 to 65536 symbols");
}

inline void check_symbols(Symbols symbols, uint32_t alphabet) {
  check_alphabet(alphabet);
  for (const uint16_t symbol : symbols)
    if (symbol >= alphabet) throw CodecError("a symbol is outside of its alphabet");
}

// Each symbol in the fewest bits that hold alphabet - 1.
Bytes encode_packed(Symbols symbols, uint32_t alphabet);
void decode_packed(ByteView data, uint32_t alphabet, SymbolsOut out);

// Canonical Huffman code: the code lengths, then the codes.
Bytes encode_huffman(Symbols symbols, uint32_t alphabet);
void decode_huffman(ByteView data, uint32_t alphabet, SymbolsOut out);

// rANS with one static table of frequencies in front.
Bytes encode_rans(Symbols symbols, uint32_t alphabet);
void decode_rans(ByteView data, uint32_t alphabet, SymbolsOut out);

}  // namespace gossamer::codec
