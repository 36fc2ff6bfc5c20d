// Bytes and bits, written and read in order; every read is checked against the end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "codec/error.h"

namespace gossamer::codec {

using Bytes = std::vector<uint8_t>;
using ByteView = std::span<const uint8_t>;

// Unsigned LEB128: seven bits a byte, the lowest first, the top bit set on all but the last.
inline void put_varint(Bytes& out, uint32_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<uint8_t>(value | 0x80));
  out.push_back(static_cast<uint8_t>(value));
}

class ByteReader {
 public:
  explicit ByteReader(ByteView data) : data_(data) {}

  uint8_t byte() {
    if (at_ == data_.size()) throw CodecError("coded stream is truncated");
    return data_[at_++];
  }
  uint32_t varint() {
    uint32_t value = 0;
    for (int shift = 0; shift < 32; shift += 7) {
      const uint32_t next = byte();
      if (shift == 28 && next > 0x0F) break;
      value |= (next & 0x7F) << shift;
      if (next < 0x80) {
        if (next == 0 && shift > 0) throw CodecError("coded stream has a number with needless zero bytes");
        return value;
      }
    }
    throw CodecError("coded stream has a number above 2^32");
  }
  ByteView rest() const { return data_.subspan(at_); }

 private:
  ByteView data_;
  size_t at_ = 0;
};

// Bits, the most significant of each byte first; the last byte is filled up with zeros.
class BitWriter {
 public:
  explicit BitWriter(Bytes& out) : out_(out) {}

  void put(uint32_t value, int bits) {
    held_ = held_ << bits | value;
    for (count_ += bits; count_ >= 8; count_ -= 8) out_.push_back(static_cast<uint8_t>(held_ >> (count_ - 8)));
  }
  void finish() {
    if (count_ > 0) put(0, 8 - count_);
  }

 private:
  Bytes& out_;
  uint64_t held_ = 0;
  int count_ = 0;
};

class BitReader {
 public:
  explicit BitReader(ByteView data) : data_(data) {}

  // The next `bits` (at most 32) without taking them; zeros follow the end of the data.
  uint32_t peek(int bits) {
    if (count_ < bits) refill();
    return static_cast<uint32_t>(held_ >> (count_ - bits) & ((uint64_t{1} << bits) - 1));
  }
  void skip(int bits) { count_ -= bits; }
  uint32_t take(int bits) {
    const uint32_t value = peek(bits);
    skip(bits);
    return value;
  }
  bool past_end() const { return at_ > data_.size() && static_cast<size_t>(count_) < 8 * (at_ - data_.size()); }

  // What follows the last value must be the zero bits of its byte, and nothing else.
  void finish() {
    const size_t taken = 8 * at_ - static_cast<size_t>(count_);
    if ((taken + 7) / 8 > data_.size()) throw CodecError("coded stream is truncated");
    if ((taken + 7) / 8 < data_.size()) throw CodecError("coded stream has bytes after its end");
    if (taken % 8 != 0 && take(8 - static_cast<int>(taken % 8)) != 0)
      throw CodecError("coded stream has bits after its end");
  }

 private:
  void refill() {
    for (; count_ <= 56; count_ += 8, ++at_) held_ = held_ << 8 | (at_ < data_.size() ? data_[at_] : 0);
  }

  ByteView data_;
  size_t at_ = 0;
  uint64_t held_ = 0;
  int count_ = 0;
};

}  // namespace gossamer::codec
