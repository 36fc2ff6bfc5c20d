// Range variant of asymmetric numeral systems (Duda 2013, https://arxiv.org/abs/1311.2540, section 3.1).
//
// The state x lies in [2^24, 2^40). A symbol that owns [start, start + frequency) of 2^bits takes x to
// (x / frequency) * 2^bits + start + x % frequency; 16 bits leave the state whenever it would grow past 2^40.
// Encoding runs from the last symbol to the first and starts from x = 2^24, so a decoder that has taken every symbol
// must stand at 2^24 with no bytes left: damage that got past the checksum is still seen.
//
// Layout: the final state, 5 bytes, then the 16-bit words in the order in which the decoder wants them; little-endian.
#pragma once

#include <cstdint>
#include <vector>

#include "codec/bytes.h"

namespace gossamer::codec {

inline constexpr uint64_t kRansLow = uint64_t{1} << 24;
inline constexpr int kRansHighBits = 40;
inline constexpr int kRansStateBytes = 5;

class RansEncoder {
 public:
  // Remember a symbol; 1 <= frequency <= 2^16, start < 2^16.
  void put(uint32_t start, uint32_t frequency) { symbols_.push_back(start << 16 | (frequency - 1)); }

  // A bit that is 1 with `probability` / 65536.
  void put_bit(int bit, int probability) {
    bit ? put(0, static_cast<uint32_t>(probability)) : put(static_cast<uint32_t>(probability), 65536u - probability);
  }

  // Append the coded symbols to `out`; every symbol was given out of 2^bits.
  void finish(Bytes& out, int bits) const;

 private:
  std::vector<uint32_t> symbols_;
};

class RansDecoder {
 public:
  explicit RansDecoder(ByteView data);

  // Where in 2^bits the next symbol's interval is.
  uint32_t peek(int bits) const { return static_cast<uint32_t>(state_ & ((uint64_t{1} << bits) - 1)); }

  // Take the symbol that owns [start, start + frequency) of 2^bits.
  void take(uint32_t start, uint32_t frequency, int bits) {
    state_ = frequency * (state_ >> bits) + (state_ & ((uint64_t{1} << bits) - 1)) - start;
    if (state_ < kRansLow) refill();
  }

  int take_bit(int probability) {
    const uint32_t p = static_cast<uint32_t>(probability);
    const bool bit = peek(16) < p;
    take(bit ? 0 : p, bit ? p : 65536u - p, 16);
    return bit;
  }

  void finish() const {
    if (state_ != kRansLow || next_ != end_) throw CodecError("coded stream does not end where its symbols end");
  }

 private:
  void refill() {
    if (end_ - next_ < 2) throw CodecError("coded stream is truncated");
    state_ = state_ << 16 | static_cast<uint64_t>(next_[0] | next_[1] << 8);
    next_ += 2;
  }

  uint64_t state_;
  const uint8_t* next_;
  const uint8_t* end_;
};

}  // namespace gossamer::codec
