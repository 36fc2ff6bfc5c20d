// The kernel, for vectors of sums. Included once per instruction set and type of cell, after a header that defines
//   Sum     a vector of kLanes sums                   Cells       a vector of kLanes cells, as they are multiplied
//   finish  what the sums of a tile become            kRegisters  how many sums fit
#pragma once

#include "kernels/cells/cells.h"

namespace {

// Which of a vector's positions are pixels, and where the first of them lies.
struct Lanes {
  int64_t pixel;
  uint32_t mask;
  int count;
};

inline Lanes lanes_at(const gossamer::CellPositions& at, int64_t position) {
  const int64_t left = at.count - position;
  const int lanes = left < kLanes ? static_cast<int>(left) : kLanes;
  if (at.pitch == at.width) return {position, (1u << lanes) - 1u, lanes};
  int64_t column = position % at.pitch;
  Lanes found{position / at.pitch * at.width + (column < at.width ? column : at.width), 0, 0};
  for (int i = 0; i < lanes; ++i) {
    if (column < at.width) {
      found.mask |= 1u << i;
      ++found.count;
    }
    if (++column == at.pitch) column = 0;
  }
  return found;
}

// Equation (1) for the rows of one group and kVectors vectors of positions.
template <int kRows, int kVectors>
inline void accumulate(const gossamer::CellConvArgs& a, int64_t group, int64_t position, Sum (*out)[kVectors]) {
  Sum sum[kRows][kVectors];
  for (int r = 0; r < kRows; ++r) {
    const Sum initial = Sum::broadcast(static_cast<const Sum::Element*>(a.initial)[group * kRows + r]);
    for (int v = 0; v < kVectors; ++v) sum[r][v] = initial;
  }
  const uint32_t first = a.weights.starts[group], last = a.weights.starts[group + 1];
  const uint32_t* in = a.in + position;
  const char* values = static_cast<const char*>(a.weights.values) + int64_t{first} * kRows * Cells::kWeightBytes;
  for (uint32_t b = first; b < last; ++b) {
    const uint32_t* x = in + a.weights.offsets[b];
    Cells cells[kVectors];
    for (int v = 0; v < kVectors; ++v) cells[v] = Cells::load(x + v * kLanes);
    for (int r = 0; r < kRows; ++r) {
      const Cells::Weight weight = Cells::weight(values + r * Cells::kWeightBytes);
      for (int v = 0; v < kVectors; ++v) sum[r][v] = cells[v].times(weight, sum[r][v]);
    }
    values += kRows * Cells::kWeightBytes;
  }
  for (int r = 0; r < kRows; ++r)
    for (int v = 0; v < kVectors; ++v) out[r][v] = sum[r][v];
}

template <int kRows, int kVectors>
void tile(const gossamer::CellConvArgs& a, int64_t unit, int64_t position, const Lanes* lanes) {
  constexpr int kGroups = gossamer::kCellUnit / kRows;
  Sum sums[gossamer::kCellUnit][kVectors];
  for (int g = 0; g < kGroups; ++g) accumulate<kRows, kVectors>(a, unit * kGroups + g, position, sums + g * kRows);
  finish(a, unit * gossamer::kCellUnit, lanes, sums);
}

template <int kRows, int kVectors>
void tile_of(const gossamer::CellConvArgs& a, int64_t unit, int64_t position, int needed, const Lanes* lanes) {
  if constexpr (kVectors > 1) {
    if (needed < kVectors) return tile_of<kRows, kVectors - 1>(a, unit, position, needed, lanes);
  }
  tile<kRows, kVectors>(a, unit, position, lanes);
}

template <int kRows>
void all_tiles(const gossamer::CellConvArgs& a) {
  constexpr int kVectors = gossamer::cell_vectors(kRegisters, kRows);
  for (int64_t t = a.tile_begin; t < a.tile_end; ++t) {
    const int64_t position = t * kVectors * kLanes;
    Lanes lanes[kVectors];
    int needed = 0;
    while (needed < kVectors && position + needed * kLanes < a.at.count) {
      lanes[needed] = lanes_at(a.at, position + needed * kLanes);
      ++needed;
    }
    for (int64_t unit = a.unit_begin; unit < a.unit_end; ++unit) tile_of<kRows, kVectors>(a, unit, position, needed, lanes);
  }
}

inline void convolve(const gossamer::CellConvArgs& a) {
  switch (a.weights.group_rows) {
    case 1: return all_tiles<1>(a);
    case 2: return all_tiles<2>(a);
    default: return all_tiles<4>(a);
  }
}

}  // namespace
