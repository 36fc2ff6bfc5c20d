#include "codec/values.h"

#include <algorithm>
#include <array>
#include <bit>
#include <vector>

#include "codec/mixing.h"
#include "codec/rans.h"

namespace gossamer::codec {
namespace {

constexpr uint32_t kClasses = 5;  // of a neighbour: 0 for none, 1 to 4 for the quarter of the codebook it lies in
constexpr int kInputs = 3;

// Symbols are coded bit by bit, the highest first; `node` is a 1 followed by the bits so far. Each bit is predicted
// from the node alone, from the nearest two neighbours, and from the next three.
class ValuesModel {
 public:
  ValuesModel(uint32_t alphabet, Grid grid)
      : alphabet_(alphabet), depth_(std::bit_width(alphabet - 1)), grid_(grid), pad_(grid.stride + 2),
        row_(grid.columns + 2 * pad_), alone_(size_t{1} << depth_), near_(kClasses * kClasses << depth_),
        far_(kClasses * kClasses * kClasses << depth_) {}

  // Move to the element at `position`, which is behind all earlier ones.
  void move_to(uint64_t position) {
    const uint64_t row = position / grid_.columns;
    if (row != current_row_) std::fill(row_.begin(), row_.end(), uint8_t{0});
    current_row_ = row;
    at_ = position % grid_.columns + pad_;
    const uint8_t* here = &row_[at_];
    const uint8_t* above = here - grid_.stride;
    const bool stacked = grid_.stride > 1;
    near_context_ = here[-1] * kClasses + (stacked ? above[0] : 0);
    far_context_ = (here[-2] * kClasses + (stacked ? above[-1] : 0)) * kClasses + (stacked ? above[1] : 0);
  }

  // `code(probability)` codes one bit and returns it.
  template <typename Code>
  uint32_t symbol(Code code) {
    uint32_t node = 1;
    for (int i = 0; i < depth_; ++i) {
      const int probability = prediction_.predict(
          {&alone_[node], &near_[(near_context_ << depth_) + node], &far_[(far_context_ << depth_) + node]}, mixer_[i]);
      const int bit = code(i, probability);
      prediction_.update(bit);
      node = node << 1 | static_cast<uint32_t>(bit);
    }
    const uint32_t symbol = node - (1u << depth_);
    if (symbol >= alphabet_) throw CodecError("coded stream has a symbol outside of its alphabet");
    row_[at_] = static_cast<uint8_t>(1 + symbol * (kClasses - 1) / alphabet_);
    return symbol;
  }

  int depth() const { return depth_; }

 private:
  uint32_t alphabet_;
  int depth_;
  Grid grid_;
  uint64_t pad_;
  std::vector<uint8_t> row_;
  std::vector<AdaptiveBit> alone_, near_, far_;
  std::array<Mixer<kInputs>, 16> mixer_;
  Prediction<kInputs> prediction_;
  uint64_t current_row_ = 0, at_ = 0;
  uint32_t near_context_ = 0, far_context_ = 0;
};

void check(uint32_t alphabet, size_t symbols, std::span<const int64_t> positions, Grid grid) {
  grid.check(positions.size());
  if (alphabet < 1 || alphabet > kMaxValuesAlphabet) throw CodecError("values have an alphabet outside of 1..1024");
  if (symbols != positions.size()) throw CodecError("there is not one value for each position");
}

}  // namespace

Bytes encode_values(Symbols symbols, uint32_t alphabet, std::span<const int64_t> positions, Grid grid) {
  check(alphabet, symbols.size(), positions, grid);
  Bytes out;
  if (symbols.empty() || alphabet == 1) return out;
  ValuesModel model(alphabet, grid);
  RansEncoder encoder;
  for (size_t i = 0; i < symbols.size(); ++i) {
    model.move_to(static_cast<uint64_t>(positions[i]));
    model.symbol([&](int place, int probability) {
      const int bit = symbols[i] >> (model.depth() - 1 - place) & 1;
      encoder.put_bit(bit, probability);
      return bit;
    });
  }
  encoder.finish(out, kProbabilityBits);
  return out;
}

void decode_values(ByteView data, uint32_t alphabet, std::span<const int64_t> positions, Grid grid, SymbolsOut out) {
  check(alphabet, out.size(), positions, grid);
  if (out.empty() || alphabet == 1) {
    if (!data.empty()) throw CodecError("coded stream has bytes after its end");
    std::fill(out.begin(), out.end(), uint16_t{0});
    return;
  }
  ValuesModel model(alphabet, grid);
  RansDecoder decoder(data);
  for (size_t i = 0; i < out.size(); ++i) {
    model.move_to(static_cast<uint64_t>(positions[i]));
    out[i] = static_cast<uint16_t>(model.symbol([&](int, int probability) { return decoder.take_bit(probability); }));
  }
  decoder.finish();
}

}  // namespace gossamer::codec
