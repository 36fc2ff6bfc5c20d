// Any function of a byte with the shuffles of words_avx*.h.
#pragma once

namespace {

// Sixteen entries of the table at a time: those bytes that they are for become 0x70 .. 0x7f, all others have bit 7 set.
inline Bytes entries_of(const uint8_t* table, Bytes x) {
  Bytes y = no_bytes();
  for (int first = 0; first < 256; first += 16) {
    y = either(y, pick(table + first, add_saturating(differ(x, bytes_all(first)), bytes_all(0x70))));
  }
  return y;
}

}  // namespace
