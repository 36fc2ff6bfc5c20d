#include "codec/pattern.h"

#include <algorithm>
#include <array>
#include <vector>

#include "codec/mixing.h"
#include "codec/rans.h"

namespace gossamer::codec {
namespace {

constexpr int kLevels = 64;      // of a probability, equally wide in log-odds
constexpr int kRowLevels = 16;   // of how much denser than predicted a row is
constexpr int kRowPeriod = 16;   // columns between two looks at the row's density
constexpr int kNearby = 32;      // patterns of five neighbours
constexpr int kInputs = 2;

int level(int probability) { return (stretch(probability) + 2048) >> 6; }

// Kept over predicted so far in this row, in 1/16, on a scale of half octaves.
int row_level(uint64_t kept, uint64_t predicted) {
  static constexpr std::array<uint64_t, kRowLevels - 1> kSteps = {2, 3, 4, 6, 8, 11, 14, 18, 23, 28, 34, 45, 64, 90, 128};
  const uint64_t ratio = (kept << 20) / predicted;
  return static_cast<int>(std::upper_bound(kSteps.begin(), kSteps.end(), ratio) - kSteps.begin());
}

// Two predictions are mixed: one from the column's density and the row's, one from the density of the columns around
// (the column itself counts half) and which of the neighbours coded before are kept.
class PatternModel {
 public:
  explicit PatternModel(Grid grid)
      : pad_(grid.stride + 2), stride_(grid.stride), stacked_(grid.stride > 1), columns_(grid.columns + 2 * pad_),
        row_(columns_.size()) {}

  void start_row() {
    std::fill(row_.begin(), row_.end(), uint8_t{0});
    kept_ = 4;
    predicted_ = 4 << kProbabilityBits;
  }

  int predict(uint64_t column) {
    at_ = column + pad_;
    if (column % kRowPeriod == 0) row_level_ = row_level(kept_, predicted_);
    const AdaptiveBit* here = &columns_[at_];
    const int sides = here[-1].p + here[1].p + (here - stride_)->p + here[stride_].p;
    const int around = level((sides + 4 * here->p) >> 3);
    const int neighbours = kept_neighbours();
    return prediction_.predict(
        {&by_row_[level(here->p) / 2 * kRowLevels + row_level_], &by_neighbours_[around * kNearby + neighbours]},
        mixers_[neighbours]);
  }

  void update(int bit) {
    prediction_.update(bit);
    columns_[at_].update(bit);
    row_[at_] = static_cast<uint8_t>(bit);
    kept_ += static_cast<uint64_t>(bit);
    predicted_ += static_cast<uint64_t>(prediction_.probability());
  }

 private:
  int kept_neighbours() const {
    const uint8_t* here = &row_[at_];
    const int left = here[-1] | here[-2] << 1;
    if (!stacked_) return left;
    const uint8_t* above = here - stride_;
    return left | above[-1] << 2 | above[0] << 3 | above[1] << 4;
  }

  uint64_t pad_, stride_;
  bool stacked_;
  std::vector<AdaptiveBit> columns_;
  std::vector<uint8_t> row_;
  std::array<AdaptiveBit, kLevels / 2 * kRowLevels> by_row_{};
  std::array<AdaptiveBit, kLevels * kNearby> by_neighbours_{};
  std::array<Mixer<kInputs>, kNearby> mixers_{};

  uint64_t kept_ = 0, predicted_ = 0, at_ = 0;
  int row_level_ = 0;
  Prediction<kInputs> prediction_;
};

// Visits elements in order until the rest is known: nothing more is kept, or everything is.
// `visit(model, position, column)` codes one bit and returns it. Returns where it stopped.
template <typename Visit>
uint64_t walk(Grid grid, uint64_t kept, Visit visit) {
  PatternModel model(grid);
  const uint64_t elements = grid.rows * grid.columns;
  uint64_t position = 0;
  while (kept > 0 && kept < elements - position) {
    model.start_row();
    for (uint64_t column = 0; column < grid.columns && kept > 0 && kept < elements - position; ++column, ++position) {
      const int bit = visit(position, model.predict(column));
      model.update(bit);
      kept -= static_cast<uint64_t>(bit);
    }
  }
  return position;
}

}  // namespace

void Grid::check(size_t kept) const {
  constexpr uint64_t kMaxElements = uint64_t{1} << 48;
  if (rows > kMaxElements || columns > kMaxElements || (columns > 0 && rows > kMaxElements / columns))
    throw CodecError("a matrix has more than 2^48 elements");
  if (stride > columns) throw CodecError("a matrix has a stride above its number of columns");
  if (kept > rows * columns) throw CodecError("more elements are kept than there are");
}

Bytes encode_pattern(std::span<const int64_t> positions, Grid grid) {
  grid.check(positions.size());
  Bytes out;
  RansEncoder encoder;
  size_t next = 0;
  const uint64_t visited = walk(grid, positions.size(), [&](uint64_t position, int probability) {
    const int bit = next < positions.size() && static_cast<uint64_t>(positions[next]) == position;
    next += static_cast<size_t>(bit);
    encoder.put_bit(bit, probability);
    return bit;
  });
  if (visited > 0) encoder.finish(out, kProbabilityBits);
  return out;
}

void decode_pattern(ByteView data, Grid grid, std::span<int64_t> out) {
  grid.check(out.size());
  const uint64_t elements = grid.rows * grid.columns;
  size_t next = 0;
  uint64_t visited = 0;
  if (out.size() > 0 && out.size() < elements) {
    RansDecoder decoder(data);
    visited = walk(grid, out.size(), [&](uint64_t position, int probability) {
      const int bit = decoder.take_bit(probability);
      if (bit) out[next++] = static_cast<int64_t>(position);
      return bit;
    });
    decoder.finish();
  } else if (!data.empty()) {
    throw CodecError("coded stream has bytes after its end");
  }
  while (next < out.size()) out[next++] = static_cast<int64_t>(visited++);
}

}  // namespace gossamer::codec
