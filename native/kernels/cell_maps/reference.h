// Plain loops, the oracle of every row: one byte at a time.
#pragma once

#include <cmath>

#include "kernels/cell_maps/cell_maps.h"

namespace gossamer {

inline uint8_t reference_byte(float t, int zero, int low, int high) {  // NaN to low
  t = std::nearbyint(t) + static_cast<float>(zero);
  if (!(t > static_cast<float>(low))) return static_cast<uint8_t>(low);
  return static_cast<uint8_t>(t < static_cast<float>(high) ? static_cast<int>(t) : high);
}

inline int64_t cell_place(int64_t channel, int64_t pixel, int64_t pixels) { return (channel / 4 * pixels + pixel) * 4 + channel % 4; }

inline void cell_quantize_reference(const CellQuantizeArgs& a) {
  for (int64_t c = 0; c < a.channels; ++c)
    for (int64_t p = 0; p < a.pixels; ++p) {
      a.y[cell_place(c, p, a.pixels)] = reference_byte(a.x[c * a.pixels + p] / a.scale, a.zero, 0, 255);
    }
}

inline void cell_dequantize_reference(const CellDequantizeArgs& a) {
  for (int64_t c = 0; c < a.channels; ++c)
    for (int64_t p = 0; p < a.pixels; ++p) {
      a.y[c * a.pixels + p] = static_cast<float>(a.x[cell_place(c, p, a.pixels)] - a.zero) * a.scale;
    }
}

inline void byte_add_reference(const ByteBinaryArgs& a) {
  for (int64_t i = 0; i < a.bytes; ++i) {
    const float right = std::fma(static_cast<float>(a.b[a.one_cell ? i % 4 : i]), a.b_scale, a.shift);
    a.y[i] = reference_byte(std::fma(static_cast<float>(a.a[i]), a.a_scale, right), a.zero, a.low, a.high);
  }
}

inline void byte_multiply_reference(const ByteBinaryArgs& a) {
  for (int64_t i = 0; i < a.bytes; ++i) {
    const float left = static_cast<float>(a.a[i]) - a.a_zero, right = static_cast<float>(a.b[a.one_cell ? i % 4 : i]) - a.b_zero;
    a.y[i] = reference_byte(left * right * a.scale, a.zero, a.low, a.high);
  }
}

inline void byte_lookup_reference(const ByteLookupArgs& a) {
  for (int64_t i = 0; i < a.bytes; ++i) a.y[i] = a.table[a.x[i]];
}

// Calls visit(byte) for each byte of channel k of the window of output (i, j) that lies in the image.
template <class Visit>
void reference_window(const CellPoolArgs& a, int64_t plane, int64_t k, int64_t i, int64_t j, const Visit& visit) {
  for (int64_t u = 0; u < a.kernel_h; ++u) {
    for (int64_t v = 0; v < a.kernel_w; ++v) {
      const int64_t row = i * a.stride_h - a.pad_top + u * a.dilation_h, column = j * a.stride_w - a.pad_left + v * a.dilation_w;
      if (row < 0 || row >= a.in_h || column < 0 || column >= a.in_w) continue;
      visit(a.x[((plane * a.in_h + row) * a.in_w + column) * 4 + k]);
    }
  }
}

template <class Finish>
void reference_pool(const CellPoolArgs& a, const Finish& finish) {
  for (int64_t plane = a.plane_begin; plane < a.plane_end; ++plane)
    for (int64_t i = 0; i < a.out_h; ++i)
      for (int64_t j = 0; j < a.out_w; ++j)
        for (int64_t k = 0; k < 4; ++k) a.y[((plane * a.out_h + i) * a.out_w + j) * 4 + k] = finish(plane, k, i, j);
}

inline void cell_max_pool_reference(const CellPoolArgs& a) {
  reference_pool(a, [&](int64_t plane, int64_t k, int64_t i, int64_t j) {
    uint8_t most = 0;
    reference_window(a, plane, k, i, j, [&](uint8_t x) { most = x > most ? x : most; });
    return most;
  });
}

inline void cell_average_pool_reference(const CellPoolArgs& a) {
  reference_pool(a, [&](int64_t plane, int64_t k, int64_t i, int64_t j) {
    int64_t sum = 0, count = 0;
    reference_window(a, plane, k, i, j, [&](uint8_t x) {
      sum += x;
      ++count;
    });
    const int64_t all = a.kernel_h * a.kernel_w;
    if (a.count_padding) sum += (all - count) * a.x_zero;
    const float factor = a.scale / static_cast<float>(a.count_padding ? all : count);
    return reference_byte(std::fma(static_cast<float>(sum), factor, a.shift), a.zero, a.low, a.high);
  });
}

inline void cell_mean_reference(const CellMeanArgs& a) {
  for (int64_t c = 0; c < a.channels; ++c) {
    int64_t sum = 0;
    for (int64_t p = 0; p < a.pixels; ++p) sum += a.x[cell_place(c, p, a.pixels)] - a.zero;
    const float mean = static_cast<float>(sum) * a.scale;
    if (a.cells) a.cells[c] = reference_byte(mean / a.y_scale, a.y_zero, 0, 255);
    else a.y[c] = mean;
  }
}

}  // namespace gossamer
