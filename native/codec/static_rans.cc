// rANS with static frequencies, for tensors that are too large for the adaptive models.
//
// Layout: one byte b (8 to 16), the frequencies of all symbols out of 2^b as varints (a zero is followed by how many
// further zeros there are), which sum to 2^b; then the rANS stream.
#include <algorithm>
#include <bit>
#include <numeric>
#include <vector>

#include "codec/rans.h"
#include "codec/symbols.h"

namespace gossamer::codec {
namespace {

constexpr int kMinBits = 8, kUsualBits = 12, kMaxBits = 16;

using Frequencies = std::vector<uint32_t>;

// Counts scaled to a sum of 2^bits, none of the used ones to zero. What rounding leaves over goes to (comes from) the
// symbols with the largest frequencies, the first of equals first.
Frequencies scaled(const std::vector<uint64_t>& counts, uint64_t total, int bits) {
  Frequencies result(counts.size());
  for (size_t i = 0; i < counts.size(); ++i)
    if (counts[i] > 0) result[i] = static_cast<uint32_t>(std::max<uint64_t>(1, (counts[i] << bits) / total));
  int64_t left = (int64_t{1} << bits) - static_cast<int64_t>(std::accumulate(result.begin(), result.end(), uint64_t{0}));
  std::vector<uint32_t> order(counts.size());
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return result[a] > result[b]; });
  if (left > 0) result[order[0]] += static_cast<uint32_t>(left);
  for (size_t i = 0; left < 0; ++i, ++left) {
    // Frequencies above 1 come first, and stay first when each of them has given one.
    if (i == order.size() || result[order[i]] == 1) i = 0;
    --result[order[i]];
  }
  return result;
}

std::vector<uint32_t> starts(const Frequencies& frequencies) {
  std::vector<uint32_t> result(frequencies.size());
  std::exclusive_scan(frequencies.begin(), frequencies.end(), result.begin(), 0u);
  return result;
}

Frequencies read_frequencies(ByteReader& in, uint32_t alphabet, uint32_t sum) {
  Frequencies result;
  result.reserve(alphabet);
  while (result.size() < alphabet) {
    const uint32_t frequency = in.varint();
    if (frequency > sum) throw CodecError("rANS table does not sum to its total");
    const uint32_t further = frequency == 0 ? in.varint() : 0;
    if (further >= alphabet - result.size()) throw CodecError("rANS table is longer than its alphabet");
    result.insert(result.end(), further + 1, frequency);
    sum -= frequency;
  }
  if (sum != 0) throw CodecError("rANS table does not sum to its total");
  return result;
}

void write_frequencies(Bytes& out, const Frequencies& frequencies) {
  for (size_t at = 0; at < frequencies.size();) {
    const uint32_t frequency = frequencies[at++];
    put_varint(out, frequency);
    if (frequency > 0) continue;
    uint32_t further = 0;
    for (; at < frequencies.size() && frequencies[at] == 0; ++at) ++further;
    put_varint(out, further);
  }
}

}  // namespace

Bytes encode_rans(Symbols symbols, uint32_t alphabet) {
  check_symbols(symbols, alphabet);
  Bytes out;
  if (symbols.empty()) return out;
  std::vector<uint64_t> counts(alphabet);
  for (const uint16_t symbol : symbols) ++counts[symbol];
  const auto used = static_cast<uint64_t>(std::count_if(counts.begin(), counts.end(), [](uint64_t n) { return n > 0; }));
  const int bits = std::clamp(static_cast<int>(std::bit_width(used)) + 3, kUsualBits, kMaxBits);
  const Frequencies frequencies = scaled(counts, symbols.size(), bits);
  const std::vector<uint32_t> start = starts(frequencies);
  out.push_back(static_cast<uint8_t>(bits));
  write_frequencies(out, frequencies);
  RansEncoder encoder;
  for (const uint16_t symbol : symbols) encoder.put(start[symbol], frequencies[symbol]);
  encoder.finish(out, bits);
  return out;
}

void decode_rans(ByteView data, uint32_t alphabet, SymbolsOut out) {
  check_alphabet(alphabet);
  ByteReader in(data);
  if (out.empty()) {
    if (!data.empty()) throw CodecError("coded stream has bytes after its end");
    return;
  }
  const int bits = in.byte();
  if (bits < kMinBits || bits > kMaxBits) throw CodecError("rANS table has an impossible precision");
  const Frequencies frequencies = read_frequencies(in, alphabet, 1u << bits);
  const std::vector<uint32_t> start = starts(frequencies);
  std::vector<uint16_t> owner(size_t{1} << bits);
  for (uint32_t symbol = 0; symbol < alphabet; ++symbol)
    std::fill_n(owner.begin() + start[symbol], frequencies[symbol], static_cast<uint16_t>(symbol));
  RansDecoder decoder(in.rest());
  for (uint16_t& symbol : out) {
    symbol = owner[decoder.peek(bits)];
    decoder.take(start[symbol], frequencies[symbol], bits);
  }
  decoder.finish();
}

}  // namespace gossamer::codec
