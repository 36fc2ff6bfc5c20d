#include <algorithm>
#include <bit>

#include "codec/symbols.h"

namespace gossamer::codec {

Bytes encode_packed(Symbols symbols, uint32_t alphabet) {
  check_symbols(symbols, alphabet);
  Bytes out;
  BitWriter bits(out);
  const int width = std::bit_width(alphabet - 1);
  for (const uint16_t symbol : symbols) bits.put(symbol, width);
  bits.finish();
  return out;
}

void decode_packed(ByteView data, uint32_t alphabet, SymbolsOut out) {
  check_alphabet(alphabet);
  const int width = std::bit_width(alphabet - 1);
  if (data.size() != (out.size() * static_cast<size_t>(width) + 7) / 8)
    throw CodecError("packed stream has the wrong length");
  if (width == 8 && alphabet == 256) {  // byte planes that do not compress: the bulk of dense floats
    std::copy(data.begin(), data.end(), out.begin());
    return;
  }
  BitReader bits(data);
  for (uint16_t& symbol : out) {
    const uint32_t value = bits.take(width);
    if (value >= alphabet) throw CodecError("packed stream has a symbol outside of its alphabet");
    symbol = static_cast<uint16_t>(value);
  }
  bits.finish();
}

}  // namespace gossamer::codec
