#include "kernels/cells/weights.h"

#include <array>
#include <cstring>

namespace gossamer {
namespace {

// What a block of R rows takes beside one of a single row: measured, and much the same for bytes and floats. A vector
// of the input is loaded once for R products, and loads are what a single row waits for.
double block_cost(int group_rows) { return group_rows == 1 ? 1.0 : group_rows == 2 ? 1.2 : 1.6; }

// The cells of weights: cell (row, plane, tap) holds kChannels values, those of other groups zero.
template <class Element, int kChannels>
class Cells {
 public:
  using Cell = std::array<Element, kChannels>;

  Cells(const ConvShape& s, const Element* weights)
      : s_(s), weights_(weights), channels_(s.in_channels / s.groups), taps_(s.kernel_h * s.kernel_w) {}

  int64_t taps() const { return taps_; }
  // The planes that the rows first .. last - 1 read.
  int64_t plane_begin(int64_t first) const { return group(first) * channels_ / kChannels; }
  int64_t plane_end(int64_t last) const { return ((group(last - 1) + 1) * channels_ + kChannels - 1) / kChannels; }

  Cell at(int64_t row, int64_t plane, int64_t tap) const {
    Cell cell{};
    if (row >= s_.out_channels) return cell;
    for (int i = 0; i < kChannels; ++i) {
      const int64_t channel = plane * kChannels + i - group(row) * channels_;
      if (channel >= 0 && channel < channels_) cell[static_cast<size_t>(i)] = weights_[(row * channels_ + channel) * taps_ + tap];
    }
    return cell;
  }

 private:
  int64_t group(int64_t row) const { return row / (s_.out_channels / s_.groups); }

  const ConvShape& s_;
  const Element* weights_;
  int64_t channels_, taps_;
};

template <class AllCells, class Take>
void each_block(const ConvShape& s, const AllCells& cells, int64_t group, int group_rows, const Take& take) {
  const int64_t first = group * group_rows, last = std::min(first + group_rows, s.out_channels);
  if (first >= last) return;
  for (int64_t plane = cells.plane_begin(first); plane < cells.plane_end(last); ++plane) {
    for (int64_t tap = 0; tap < cells.taps(); ++tap) {
      std::array<typename AllCells::Cell, kCellUnit> block{};
      bool kept = false;
      for (int r = 0; r < group_rows; ++r) {
        block[static_cast<size_t>(r)] = cells.at(first + r, plane, tap);
        kept = kept || block[static_cast<size_t>(r)] != typename AllCells::Cell{};
      }
      if (kept) take(plane, tap, block);
    }
  }
}

int64_t group_count(const ConvShape& s, int group_rows) {
  return (s.out_channels + kCellUnit - 1) / kCellUnit * kCellUnit / group_rows;
}

template <class AllCells>
int best_group_rows(const ConvShape& s, const AllCells& cells) {
  int best = 1;
  double least = 0;
  for (const int rows : {1, 2, 4}) {
    int64_t blocks = 0;
    for (int64_t g = 0; g < group_count(s, rows); ++g) {
      each_block(s, cells, g, rows, [&](int64_t, int64_t, const auto&) { ++blocks; });
    }
    const double cost = static_cast<double>(blocks) * block_cost(rows);
    if (rows == 1 || cost <= least) {
      best = rows;
      least = cost;
    }
  }
  return best;
}

void append(const std::array<float, 1>& cell, CellForm, std::vector<std::byte>& out) {
  const auto* bytes = reinterpret_cast<const std::byte*>(cell.data());
  out.insert(out.end(), bytes, bytes + 4);
}

void append(const std::array<int8_t, 4>& cell, CellForm form, std::vector<std::byte>& out) {
  const auto* bytes = reinterpret_cast<const std::byte*>(cell.data());
  if (form == CellForm::bytes) {
    out.insert(out.end(), bytes, bytes + 4);
    return;
  }
  const int16_t halves[4] = {cell[0], cell[2], cell[1], cell[3]};
  const auto* wide = reinterpret_cast<const std::byte*>(halves);
  out.insert(out.end(), wide, wide + 8);
}

template <class AllCells>
CellWeights pack(const ConvShape& s, const CellPlanes& planes, const AllCells& cells, CellForm form, int group_rows) {
  CellWeights w;
  w.rows = s.out_channels;
  w.group_rows = group_rows ? group_rows : best_group_rows(s, cells);
  w.starts.push_back(0);
  for (int64_t g = 0; g < group_count(s, w.group_rows); ++g) {
    each_block(s, cells, g, w.group_rows, [&](int64_t plane, int64_t tap, const auto& block) {
      w.offsets.push_back(static_cast<int32_t>(planes.offset(plane, tap / s.kernel_w, tap % s.kernel_w)));
      for (int r = 0; r < w.group_rows; ++r) append(block[static_cast<size_t>(r)], form, w.values);
    });
    w.starts.push_back(static_cast<uint32_t>(w.offsets.size()));
  }
  w.kept = static_cast<int64_t>(w.offsets.size()) * w.group_rows;
  for (int64_t row = 0; row < s.out_channels; ++row) {
    w.all += (cells.plane_end(row + 1) - cells.plane_begin(row)) * cells.taps();
  }
  return w;
}

}  // namespace

CellWeights pack_cell_weights(const ConvShape& s, const CellPlanes& planes, const float* weights, int group_rows) {
  return pack(s, planes, Cells<float, 1>(s, weights), CellForm::floats, group_rows);
}

CellWeights pack_cell_weights(const ConvShape& s, const CellPlanes& planes, const int8_t* weights, CellForm form,
                              int group_rows) {
  return pack(s, planes, Cells<int8_t, 4>(s, weights), form, group_rows);
}

}  // namespace gossamer
