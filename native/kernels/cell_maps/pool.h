// Windows over planes of cells: the rows of a window first, into scratch with the padding on both sides, then columns.
#pragma once

#include "kernels/cell_maps/maps.h"

namespace {

// Cell j of a vector is cell j `stride` of p.
inline Bytes load_strided(const uint32_t* p, int64_t stride) {
  if (stride == 1) return load_bytes(p);
  if (stride == 2) return every_second(p);
  uint32_t all[kLanes];
  for (int i = 0; i < kLanes; ++i) all[i] = p[i * stride];
  return load_bytes(all);
}

struct RowsOfWindow {
  int64_t begin, end;  // rows of the kernel that lie in the image
};

inline RowsOfWindow inside(int64_t first, int64_t kernel, int64_t dilation, int64_t size) {
  int64_t begin = 0, end = kernel;
  while (begin < end && first + begin * dilation < 0) ++begin;
  while (end > begin && first + (end - 1) * dilation >= size) --end;
  return {begin, end};
}

// What remains of a strided vector behind the last cell that is written may lie behind the scratch: read no further.
inline Bytes load_columns(const uint32_t* p, int64_t stride, int64_t count) {
  if (stride <= 2 || count >= kLanes) return load_strided(p, stride);
  uint32_t all[kLanes] = {};
  for (int64_t i = 0; i < count; ++i) all[i] = p[i * stride];
  return load_bytes(all);
}

inline int64_t padded_width(const gossamer::CellPoolArgs& a) {
  const int64_t reach = (a.out_w - 1) * a.stride_w + (a.kernel_w - 1) * a.dilation_w + 1;
  return reach > a.pad_left + a.in_w ? reach : a.pad_left + a.in_w;
}

inline void fill(uint32_t* p, int64_t count, uint32_t cell) {
  for (int64_t i = 0; i < count; ++i) p[i] = cell;
}

// Writes combine(all rows of the windows of output row i) to `rows`.
template <class Combine>
inline void combine_rows(const gossamer::CellPoolArgs& a, const uint8_t* x, RowsOfWindow window, int64_t first, const Combine& combine) {
  const auto* from = x + (first + window.begin * a.dilation_h) * a.in_w * 4;
  for (int64_t j = 0; j < a.in_w; j += kLanes) combine(from + 4 * j, j, window.end - window.begin, 4 * (a.in_w - j));
}

// --- maxima ------------------------------------------------------------------------------------------------------------

inline void max_pool_row(const gossamer::CellPoolArgs& a, const uint8_t* x, int64_t i, uint8_t* y) {
  uint32_t* rows = a.scratch + a.pad_left;
  const int64_t first = i * a.stride_h - a.pad_top, pitch = a.dilation_h * a.in_w * 4;
  const RowsOfWindow window = inside(first, a.kernel_h, a.dilation_h, a.in_h);
  combine_rows(a, x, window, first, [&](const uint8_t* from, int64_t j, int64_t count, int64_t bytes) {
    Bytes most = no_bytes();
    for (int64_t u = 0; u < count; ++u) most = greater(most, load_first(from + u * pitch, bytes));
    store_bytes(most, rows + j);
  });
  fill(rows + a.in_w, padded_width(a) - a.pad_left - a.in_w, 0);
  for (int64_t j = 0; j < a.out_w; j += kLanes) {
    const uint32_t* from = a.scratch + j * a.stride_w;
    Bytes most = load_columns(from, a.stride_w, a.out_w - j);
    for (int64_t v = 1; v < a.kernel_w; ++v) most = greater(most, load_columns(from + v * a.dilation_w, a.stride_w, a.out_w - j));
    store_first(most, y + 4 * j, 4 * (a.out_w - j));
  }
}

// Windows of two columns side by side, without padding: columns straight from the rows.
inline bool takes_pairs(const gossamer::CellPoolArgs& a) {
  return a.kernel_w == 2 && a.stride_w == 2 && a.dilation_w == 1 && a.pad_left == 0 && 2 * a.out_w <= a.in_w;
}

inline void max_pool_row_of_pairs(const gossamer::CellPoolArgs& a, const uint8_t* x, int64_t i, uint8_t* y) {
  const int64_t first = i * a.stride_h - a.pad_top, pitch = a.dilation_h * a.in_w * 4;
  const RowsOfWindow window = inside(first, a.kernel_h, a.dilation_h, a.in_h);
  const uint8_t* rows = x + (first + window.begin * a.dilation_h) * a.in_w * 4;
  for (int64_t j = 0; j < a.out_w; j += kLanes) {
    const uint8_t* from = rows + 8 * j;
    const int64_t bytes = 8 * (a.out_w - j), behind = bytes > kVectorBytes ? bytes - kVectorBytes : 0;
    Bytes left = no_bytes(), right = no_bytes();
    for (int64_t u = window.begin; u < window.end; ++u, from += pitch) {
      left = greater(left, load_first(from, bytes));
      right = greater(right, load_first(from + kVectorBytes, behind));
    }
    store_first(greater_of_pairs(left, right), y + 4 * j, 4 * (a.out_w - j));
  }
}

inline void max_pool(const gossamer::CellPoolArgs& a) {
  const auto pool_row = takes_pairs(a) ? max_pool_row_of_pairs : max_pool_row;
  fill(a.scratch, a.pad_left, 0);
  for (int64_t plane = a.plane_begin; plane < a.plane_end; ++plane) {
    const uint8_t* x = a.x + plane * a.in_h * a.in_w * 4;
    for (int64_t i = 0; i < a.out_h; ++i) pool_row(a, x, i, a.y + (plane * a.out_h + i) * a.out_w * 4);
  }
}

// --- averages ----------------------------------------------------------------------------------------------------------

// Scratch for sums: bytes 0 and 2 of each cell, bytes 1 and 3, and how many columns of each window count.
struct Sums {
  uint32_t *even, *odd;
  float* columns;
};

inline Sums sums_in(const gossamer::CellPoolArgs& a) {
  const int64_t width = padded_width(a) + 2 * kLanes;
  return {a.scratch, a.scratch + width, reinterpret_cast<float*>(a.scratch + 2 * width)};
}

inline void sum_rows(const gossamer::CellPoolArgs& a, const uint8_t* x, RowsOfWindow window, int64_t first, const Sums& sums) {
  const int64_t pitch = a.dilation_h * a.in_w * 4;
  const auto padding = static_cast<uint32_t>((a.kernel_h - (window.end - window.begin)) * (a.count_padding ? a.x_zero : 0));
  const uint32_t start[2] = {padding | padding << 16, 0};
  uint32_t all[kLanes];
  fill(all, kLanes, start[0]);
  const Bytes from_padding = load_bytes(all);
  combine_rows(a, x, window, first, [&](const uint8_t* from, int64_t j, int64_t count, int64_t bytes) {
    Bytes even = from_padding, odd = from_padding;
    for (int64_t u = 0; u < count; ++u) {
      const Bytes cells = load_first(from + u * pitch, bytes);
      even = add_16(even, even_bytes(cells));
      odd = add_16(odd, odd_bytes(cells));
    }
    store_bytes(even, sums.even + a.pad_left + j);
    store_bytes(odd, sums.odd + a.pad_left + j);
  });
  const auto column = static_cast<uint32_t>(a.count_padding ? a.kernel_h * a.x_zero : 0);
  for (uint32_t* half : {sums.even, sums.odd}) {
    fill(half, a.pad_left, column | column << 16);
    fill(half + a.pad_left + a.in_w, padded_width(a) - a.pad_left - a.in_w, column | column << 16);
  }
}

inline void average_columns(const gossamer::CellPoolArgs& a, const Sums& sums, int64_t rows, uint8_t* y) {
  const Floats shift = broadcast(a.shift), scale = broadcast(a.scale), height = broadcast(static_cast<float>(rows));
  for (int64_t j = 0; j < a.out_w; j += kLanes) {
    const int64_t left = a.out_w - j;
    Bytes even = no_bytes(), odd = no_bytes();
    for (int64_t v = 0; v < a.kernel_w; ++v) {
      const int64_t column = j * a.stride_w + v * a.dilation_w;
      even = add_16(even, load_columns(sums.even + column, a.stride_w, left));
      odd = add_16(odd, load_columns(sums.odd + column, a.stride_w, left));
    }
    const Floats factor = divide(scale, multiply(height, load_floats(sums.columns + j)));
    const Floats t[4] = {clamp(multiply_add(half_of<0>(even), factor, shift), -kFarOut, kFarOut),
                         clamp(multiply_add(half_of<0>(odd), factor, shift), -kFarOut, kFarOut),
                         clamp(multiply_add(half_of<1>(even), factor, shift), -kFarOut, kFarOut),
                         clamp(multiply_add(half_of<1>(odd), factor, shift), -kFarOut, kFarOut)};
    store_first(less(bytes_all(a.high), greater(bytes_all(a.low), to_cells(t, a.zero))), y + 4 * j, 4 * left);
  }
}

inline void average_pool(const gossamer::CellPoolArgs& a) {
  const Sums sums = sums_in(a);
  for (int64_t j = 0; j < a.out_w; ++j) {
    const RowsOfWindow columns = inside(j * a.stride_w - a.pad_left, a.kernel_w, a.dilation_w, a.in_w);
    sums.columns[j] = static_cast<float>(a.count_padding ? a.kernel_w : columns.end - columns.begin);
  }
  for (int64_t plane = a.plane_begin; plane < a.plane_end; ++plane) {
    const uint8_t* x = a.x + plane * a.in_h * a.in_w * 4;
    for (int64_t i = 0; i < a.out_h; ++i) {
      const int64_t first = i * a.stride_h - a.pad_top;
      const RowsOfWindow window = inside(first, a.kernel_h, a.dilation_h, a.in_h);
      sum_rows(a, x, window, first, sums);
      const int64_t rows = a.count_padding ? a.kernel_h : window.end - window.begin;
      average_columns(a, sums, rows, a.y + (plane * a.out_h + i) * a.out_w * 4);
    }
  }
}

}  // namespace
