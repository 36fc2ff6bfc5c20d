#include "fuzz/target.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "codec/pattern.h"
#include "codec/symbols.h"
#include "codec/text.h"
#include "codec/values.h"

namespace {

using namespace gossamer::codec;

// Layout of an input: coder, then three little-endian 16-bit arguments, then the coded stream.
constexpr size_t kHeader = 7;
constexpr uint32_t kMaxCount = 4096;

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

// What decodes must encode and decode to the same again.
template <typename Decode, typename Encode>
void symbols_round_trip(ByteView data, uint32_t alphabet, size_t count, Decode decode, Encode encode) {
  std::vector<uint16_t> out(count), again(count);
  decode(data, alphabet, out);
  require(std::all_of(out.begin(), out.end(), [&](uint16_t symbol) { return symbol < alphabet; }), "symbol in alphabet");
  decode(encode(out, alphabet), alphabet, again);
  require(out == again, "symbols survive a round trip");
}

std::vector<int64_t> pattern_round_trip(ByteView data, Grid grid, size_t count) {
  std::vector<int64_t> out(count), again(count);
  decode_pattern(data, grid, out);
  require(std::is_sorted(out.begin(), out.end(), std::less_equal<>()), "positions increase");
  require(out.empty() || out.back() < static_cast<int64_t>(grid.rows * grid.columns), "positions lie inside");
  require(encode_pattern(out, grid) == Bytes(data.begin(), data.end()), "a pattern has one encoding");
  return out;
}

void values_round_trip(ByteView data, Grid grid, uint32_t alphabet) {
  std::vector<int64_t> positions(std::min<uint64_t>(grid.rows * grid.columns, kMaxCount));
  for (size_t i = 0; i < positions.size(); ++i) positions[i] = static_cast<int64_t>(i);
  std::vector<uint16_t> out(positions.size());
  decode_values(data, alphabet, positions, grid, out);
  require(encode_values(out, alphabet, positions, grid) == Bytes(data.begin(), data.end()), "values have one encoding");
}

void text_round_trip(ByteView data, size_t count) {
  static constexpr uint8_t kPrimer[] = "Gemm Conv Relu weight bias";
  Bytes out(count);
  decode_text(data, kPrimer, out);
  require(encode_text(out, kPrimer) == Bytes(data.begin(), data.end()), "a text has one encoding");
}

void decode_one(uint8_t coder, uint32_t a, uint32_t b, uint32_t c, ByteView data) {
  const Grid grid{a % 300, b % 300, c % 64};
  switch (coder % 6) {
    case 0: return symbols_round_trip(data, a, b % kMaxCount, decode_packed, encode_packed);
    case 1: return symbols_round_trip(data, a, b % kMaxCount, decode_huffman, encode_huffman);
    case 2: return symbols_round_trip(data, a, b % kMaxCount, decode_rans, encode_rans);
    case 3: pattern_round_trip(data, grid, c / 64); return;
    case 4: return values_round_trip(data, grid, 1 + c / 64);
    case 5: return text_round_trip(data, b % 512);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < kHeader) return 0;
  const auto argument = [&](int i) { return static_cast<uint32_t>(data[1 + 2 * i] | data[2 + 2 * i] << 8); };
  try {
    decode_one(data[0], argument(0), argument(1), argument(2), ByteView(data + kHeader, size - kHeader));
  } catch (const CodecError&) {
    // What bytes that no encoder wrote should give.
  }
  return 0;
}
