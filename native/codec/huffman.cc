// Canonical Huffman code (Huffman 1952; Schwartz and Kallick 1964), as in Deep Compression (Han et al. 2016, section 4).
//
// Layout, most significant bits first: for every symbol in order its code length in 5 bits (0: unused; then 5 bits more
// say how many unused symbols follow this one, 0 to 31), up to the end of the alphabet; then the codes. Codes of one
// length are consecutive, in the order of their symbols, and follow those of the shorter lengths.
#include <algorithm>
#include <array>
#include <queue>
#include <vector>

#include "codec/symbols.h"

namespace gossamer::codec {
namespace {

constexpr int kMaxLength = 20;  // holds an alphabet of 65536, and 5 bits hold it
constexpr int kFieldBits = 5;
constexpr uint32_t kMaxRun = 31;
constexpr int kTableBits = 10;

using Lengths = std::vector<uint8_t>;

// Depth of every leaf in a Huffman tree. Of two nodes with equal weight the one made first is taken first.
Lengths tree_depths(const std::vector<uint64_t>& counts) {
  using Node = std::pair<uint64_t, uint32_t>;
  std::priority_queue<Node, std::vector<Node>, std::greater<>> open;
  std::vector<uint32_t> parent(counts.size());
  for (uint32_t i = 0; i < counts.size(); ++i)
    if (counts[i] > 0) open.emplace(counts[i], i);
  Lengths depth(counts.size());
  if (open.size() == 1) depth[open.top().second] = 1;
  while (open.size() > 1) {
    const auto [first, a] = open.top();
    open.pop();
    const auto [second, b] = open.top();
    open.pop();
    const auto joined = static_cast<uint32_t>(parent.size());
    parent.push_back(0);
    parent[a] = parent[b] = joined;
    open.emplace(first + second, joined);
  }
  Lengths all(parent.size());
  for (size_t i = parent.size(); i-- > 0;)
    if (parent[i] != 0) all[i] = static_cast<uint8_t>(std::min(255, all[parent[i]] + 1));
  for (size_t i = 0; i < depth.size(); ++i) depth[i] = std::max(depth[i], all[i]);
  return depth;
}

Lengths code_lengths(Symbols symbols, uint32_t alphabet) {
  std::vector<uint64_t> counts(alphabet);
  for (const uint16_t symbol : symbols) ++counts[symbol];
  Lengths lengths = tree_depths(counts);
  // A very lopsided tree is too deep: flatten the counts until it is not.
  while (*std::max_element(lengths.begin(), lengths.end()) > kMaxLength) {
    for (uint64_t& count : counts) count = (count + 1) / 2;
    lengths = tree_depths(counts);
  }
  return lengths;
}

// The first code of every length, and how many codes each has.
struct Canonical {
  std::array<uint32_t, kMaxLength + 2> first{}, count{};
  std::vector<uint16_t> symbols;  // by length, then by symbol

  explicit Canonical(const Lengths& lengths) {
    for (const uint8_t length : lengths) ++count[length];
    count[0] = 0;
    check_complete();
    uint32_t code = 0;
    for (int length = 1; length <= kMaxLength; ++length) {
      first[length] = code;
      code = (code + count[length]) << 1;
    }
    for (int length = 1; length <= kMaxLength; ++length)
      for (size_t symbol = 0; symbol < lengths.size(); ++symbol)
        if (lengths[symbol] == length) symbols.push_back(static_cast<uint16_t>(symbol));
  }

  // Every string of bits starts with exactly one code; a single code, of length 1, is the exception.
  void check_complete() const {
    uint64_t space = 0, used = 0;
    for (int length = 1; length <= kMaxLength; ++length) {
      space += static_cast<uint64_t>(count[length]) << (kMaxLength - length);
      used += count[length];
    }
    const bool single = used == 1 && count[1] == 1;
    if (space != uint64_t{1} << kMaxLength && !single) throw CodecError("Huffman table is not a complete code");
  }
};

void write_lengths(BitWriter& bits, const Lengths& lengths) {
  for (size_t at = 0; at < lengths.size();) {
    const uint8_t length = lengths[at++];
    bits.put(length, kFieldBits);
    if (length > 0) continue;
    uint32_t run = 0;
    for (; run < kMaxRun && at < lengths.size() && lengths[at] == 0; ++at) ++run;
    bits.put(run, kFieldBits);
  }
}

Lengths read_lengths(BitReader& bits, uint32_t alphabet) {
  Lengths lengths;
  lengths.reserve(alphabet);
  while (lengths.size() < alphabet) {
    const uint32_t length = bits.take(kFieldBits);
    if (length > kMaxLength) throw CodecError("Huffman table has a code length above 20");
    const uint32_t copies = length > 0 ? 1 : bits.take(kFieldBits) + 1;
    if (copies > alphabet - lengths.size()) throw CodecError("Huffman table is longer than its alphabet");
    lengths.insert(lengths.end(), copies, static_cast<uint8_t>(length));
    if (bits.past_end()) throw CodecError("coded stream is truncated");
  }
  return lengths;
}

// Codes of at most kTableBits are found by their first bits at once; longer ones length by length.
class Decoder {
 public:
  explicit Decoder(const Lengths& lengths) : code_(lengths), table_(size_t{1} << kTableBits) {
    size_t at = 0;
    for (int length = 1; length <= kTableBits; ++length)
      for (uint32_t i = 0; i < code_.count[length]; ++i, ++at)
        std::fill_n(table_.begin() + ((code_.first[length] + i) << (kTableBits - length)), size_t{1} << (kTableBits - length),
                    Entry{code_.symbols[at], static_cast<uint8_t>(length)});
    long_codes_ = at;
  }

  uint16_t next(BitReader& bits) const {
    const Entry entry = table_[bits.peek(kTableBits)];
    if (entry.length == 0) return next_long(bits);
    bits.skip(entry.length);
    return entry.symbol;
  }

 private:
  struct Entry {
    uint16_t symbol = 0;
    uint8_t length = 0;
  };

  uint16_t next_long(BitReader& bits) const {
    size_t at = long_codes_;
    const uint32_t ahead = bits.peek(kMaxLength);
    for (int length = kTableBits + 1; length <= kMaxLength; ++length) {
      const uint32_t place = (ahead >> (kMaxLength - length)) - code_.first[length];
      if (place < code_.count[length]) {
        bits.skip(length);
        return code_.symbols[at + place];
      }
      at += code_.count[length];
    }
    throw CodecError("Huffman stream has a code that stands for nothing");
  }

  Canonical code_;
  std::vector<Entry> table_;
  size_t long_codes_ = 0;
};

}  // namespace

Bytes encode_huffman(Symbols symbols, uint32_t alphabet) {
  check_symbols(symbols, alphabet);
  Bytes out;
  if (symbols.empty()) return out;
  const Lengths lengths = code_lengths(symbols, alphabet);
  const Canonical canonical(lengths);
  std::vector<uint32_t> codes(alphabet);
  auto next = canonical.first;
  for (const uint16_t symbol : canonical.symbols) codes[symbol] = next[lengths[symbol]]++;
  BitWriter bits(out);
  write_lengths(bits, lengths);
  for (const uint16_t symbol : symbols) bits.put(codes[symbol], lengths[symbol]);
  bits.finish();
  return out;
}

void decode_huffman(ByteView data, uint32_t alphabet, SymbolsOut out) {
  check_alphabet(alphabet);
  BitReader bits(data);
  if (!out.empty()) {
    const Decoder decoder(read_lengths(bits, alphabet));
    for (uint16_t& symbol : out) symbol = decoder.next(bits);
  }
  bits.finish();
}

}  // namespace gossamer::codec
