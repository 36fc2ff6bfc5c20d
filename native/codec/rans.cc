#include "codec/rans.h"

#include <algorithm>

namespace gossamer::codec {

void RansEncoder::finish(Bytes& out, int bits) const {
  uint64_t state = kRansLow;
  Bytes reversed;
  for (auto symbol = symbols_.rbegin(); symbol != symbols_.rend(); ++symbol) {
    const uint64_t start = *symbol >> 16, frequency = (*symbol & 0xFFFF) + 1;
    if (state >= frequency << (kRansHighBits - bits)) {
      reversed.push_back(static_cast<uint8_t>(state >> 8));
      reversed.push_back(static_cast<uint8_t>(state));
      state >>= 16;
    }
    state = (state / frequency << bits) + start + state % frequency;
  }
  for (int i = 0; i < kRansStateBytes; ++i) out.push_back(static_cast<uint8_t>(state >> 8 * i));
  out.insert(out.end(), reversed.rbegin(), reversed.rend());
}

RansDecoder::RansDecoder(ByteView data) : state_(0), next_(data.data()), end_(data.data() + data.size()) {
  if (data.size() < kRansStateBytes) throw CodecError("coded stream is truncated");
  for (int i = 0; i < kRansStateBytes; ++i) state_ |= static_cast<uint64_t>(*next_++) << 8 * i;
  if (state_ < kRansLow) throw CodecError("coded stream begins with an impossible state");
}

}  // namespace gossamer::codec
