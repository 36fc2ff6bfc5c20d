// Plain loops that the compiler turns into vectors; included once per instruction set.
#pragma once

#include <cmath>
#include <cstring>

#include "kernels/cell_maps/cell_maps.h"

namespace {

inline uint32_t saturate(float t) {  // NaN to 0
  t = t > 0 ? t : 0;
  return static_cast<uint32_t>(static_cast<int32_t>(t < 255 ? t : 255));
}

inline void quantize(const gossamer::CellQuantizeArgs& a) {
  const float zero = static_cast<float>(a.zero);
  for (int64_t plane = a.plane_begin; plane < a.plane_end; ++plane) {
    const float* x[4];
    for (int64_t k = 0; k < 4; ++k) x[k] = 4 * plane + k < a.channels ? a.x + (4 * plane + k) * a.pixels : nullptr;
    uint8_t* y = a.y + plane * a.pixels * 4;
    for (int64_t k = 0; k < 4; ++k) {
      if (!x[k]) x[k] = x[0];  // any value does
    }
    for (int64_t p = 0; p < a.pixels; ++p) {
      uint32_t cell = saturate(std::nearbyint(x[0][p] / a.scale) + zero);
      cell |= saturate(std::nearbyint(x[1][p] / a.scale) + zero) << 8;
      cell |= saturate(std::nearbyint(x[2][p] / a.scale) + zero) << 16;
      cell |= saturate(std::nearbyint(x[3][p] / a.scale) + zero) << 24;
      std::memcpy(y + 4 * p, &cell, 4);
    }
  }
}

inline void dequantize(const gossamer::CellDequantizeArgs& a) {
  for (int64_t plane = a.plane_begin; plane < a.plane_end; ++plane) {
    for (int64_t c = 4 * plane; c < 4 * plane + 4 && c < a.channels; ++c) {
      const uint8_t* x = a.x + plane * a.pixels * 4;
      const int shift = static_cast<int>(8 * (c % 4));
      float* y = a.y + c * a.pixels;
      for (int64_t p = 0; p < a.pixels; ++p) {
        uint32_t cell;
        std::memcpy(&cell, x + 4 * p, 4);
        y[p] = static_cast<float>(static_cast<int>(cell >> shift & 0xffu) - a.zero) * a.scale;
      }
    }
  }
}

inline void add(const gossamer::ByteAddArgs& args) {
  const gossamer::ByteAddArgs a = args;
  const float zero = static_cast<float>(a.zero), low = static_cast<float>(a.low), high = static_cast<float>(a.high);
  for (int64_t i = a.begin; i < a.end; ++i) {
    float t = std::nearbyint(a.a_scale * a.a[i] + (a.b_scale * a.b[i] + a.shift)) + zero;
    t = t > low ? t : low;
    a.y[i] = static_cast<uint8_t>(static_cast<int32_t>(t < high ? t : high));
  }
}

inline void take_greater(const uint8_t* __restrict x, int64_t bytes, uint8_t* __restrict y) {
  for (int64_t i = 0; i < bytes; ++i) y[i] = x[i] > y[i] ? x[i] : y[i];
}

// One row of output: the rows of its windows first, into scratch, then their columns.
inline void max_pool_row(const gossamer::CellMaxPoolArgs& a, const uint8_t* x, int64_t i, uint8_t* __restrict y) {
  uint8_t* __restrict rows = a.scratch;
  std::memset(rows, 0, static_cast<size_t>(4 * a.in_w));
  for (int64_t u = 0; u < a.kernel_h; ++u) {
    const int64_t row = i * a.stride_h - a.pad_top + u * a.dilation_h;
    if (row >= 0 && row < a.in_h) take_greater(x + row * a.in_w * 4, 4 * a.in_w, rows);
  }
  std::memset(y, 0, static_cast<size_t>(4 * a.out_w));
  for (int64_t v = 0; v < a.kernel_w; ++v) {
    const int64_t shift = v * a.dilation_w - a.pad_left;
    for (int64_t j = 0; j < a.out_w; ++j) {
      const int64_t column = j * a.stride_w + shift;
      if (column >= 0 && column < a.in_w) take_greater(rows + 4 * column, 4, y + 4 * j);
    }
  }
}

inline void max_pool(const gossamer::CellMaxPoolArgs& a) {
  for (int64_t plane = a.plane_begin; plane < a.plane_end; ++plane) {
    const uint8_t* x = a.x + plane * a.in_h * a.in_w * 4;
    for (int64_t i = 0; i < a.out_h; ++i) max_pool_row(a, x, i, a.y + (plane * a.out_h + i) * a.out_w * 4);
  }
}

inline void mean(const gossamer::CellMeanArgs& a) {
  for (int64_t plane = a.plane_begin; plane < a.plane_end; ++plane) {
    int64_t sums[4] = {};
    const uint8_t* x = a.x + plane * a.pixels * 4;
    for (int64_t p = 0; p < a.pixels; ++p)
      for (int64_t k = 0; k < 4; ++k) sums[k] += x[4 * p + k];
    for (int64_t k = 0; k < 4 && 4 * plane + k < a.channels; ++k) {
      a.y[4 * plane + k] = static_cast<float>(sums[k] - a.pixels * a.zero) * a.scale;
    }
  }
}

}  // namespace
