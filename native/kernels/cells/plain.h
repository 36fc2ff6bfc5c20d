// One image of bytes from row-major order to planes of cells and back, for the checks.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/cells/cells.h"

namespace gossamer {

inline std::vector<uint32_t> to_cells(const uint8_t* x, int64_t channels, int64_t pixels) {
  std::vector<uint32_t> cells(static_cast<size_t>((channels + 3) / 4 * pixels + kCellSlack));
  auto* bytes = reinterpret_cast<uint8_t*>(cells.data());
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t p = 0; p < pixels; ++p) bytes[(c / 4 * pixels + p) * 4 + c % 4] = x[c * pixels + p];
  return cells;
}

inline void from_cells(const std::vector<uint32_t>& cells, int64_t channels, int64_t pixels, uint8_t* y) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(cells.data());
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t p = 0; p < pixels; ++p) y[c * pixels + p] = bytes[(c / 4 * pixels + p) * 4 + c % 4];
}

// With zeros behind the last one, up to a whole number of units.
template <class Element>
std::vector<Element> filled_up(const Element* values, int64_t rows) {
  std::vector<Element> all(static_cast<size_t>((rows + kCellUnit - 1) / kCellUnit * kCellUnit));
  if (values) std::copy(values, values + rows, all.begin());
  return all;
}

}  // namespace gossamer
