// Cells to floats and back, and functions of bytes; in the words of words_*.h.
#pragma once

#include <cmath>
#include <cstring>

#include "kernels/cell_maps/cell_maps.h"

namespace {

// Floats whose rounding, plus any zero point, saturates, stay so; and they fit 32 bits.
constexpr float kFarOut = 65536;

// n elements of a vector that are there; what the rest holds does not matter.
inline Floats load_first(const float* p, int64_t n) { return n >= kLanes ? load_floats(p) : load_part(p, n); }
inline void store_first(Floats x, float* p, int64_t n) { return n >= kLanes ? store_floats(x, p) : store_part(x, p, n); }
inline Bytes load_first(const uint8_t* p, int64_t bytes) { return bytes >= kVectorBytes ? load_bytes(p) : load_part(p, bytes); }
inline void store_first(Bytes x, uint8_t* p, int64_t bytes) {
  return bytes >= kVectorBytes ? store_bytes(x, p) : store_part(x, p, bytes);
}

inline void quantize(const gossamer::CellQuantizeArgs& a) {
  const Floats scale = broadcast(a.scale);
  for (int64_t plane = a.plane_begin; plane < a.plane_end; ++plane) {
    const float* x[4];
    for (int64_t k = 0; k < 4; ++k) x[k] = a.x + (4 * plane + (4 * plane + k < a.channels ? k : 0)) * a.pixels;
    uint8_t* y = a.y + plane * a.pixels * 4;
    for (int64_t p = 0; p < a.pixels; p += kLanes) {
      const int64_t left = a.pixels - p;
      Floats t[4];
      for (int k = 0; k < 4; ++k) t[k] = clamp(divide(load_first(x[k] + p, left), scale), -kFarOut, kFarOut);
      store_first(to_cells(t, a.zero), y + 4 * p, 4 * left);
    }
  }
}

template <int kByte>
inline void dequantize_channel(const gossamer::CellDequantizeArgs& a, int64_t plane) {
  const int64_t channel = 4 * plane + kByte;
  if (channel >= a.channels) return;
  const Floats zero = broadcast(static_cast<float>(a.zero)), scale = broadcast(a.scale);
  const uint8_t* x = a.x + plane * a.pixels * 4;
  float* y = a.y + channel * a.pixels;
  for (int64_t p = 0; p < a.pixels; p += kLanes) {
    const int64_t left = a.pixels - p;
    store_first(multiply(subtract(byte_of<kByte>(load_first(x + 4 * p, 4 * left)), zero), scale), y + p, left);
  }
}

inline void dequantize(const gossamer::CellDequantizeArgs& a) {
  for (int64_t plane = a.plane_begin; plane < a.plane_end; ++plane) {
    dequantize_channel<0>(a, plane);
    dequantize_channel<1>(a, plane);
    dequantize_channel<2>(a, plane);
    dequantize_channel<3>(a, plane);
  }
}

// --- two bytes to one ------------------------------------------------------------------------------------------------

template <int kByte>
inline Floats sum_of(const gossamer::ByteBinaryArgs& e, Bytes a, Bytes b) {
  const Floats right = multiply_add(byte_of<kByte>(b), broadcast(e.b_scale), broadcast(e.shift));
  return clamp(multiply_add(byte_of<kByte>(a), broadcast(e.a_scale), right), -kFarOut, kFarOut);
}

template <int kByte>
inline Floats product_of(const gossamer::ByteBinaryArgs& e, Bytes a, Bytes b) {
  const Floats left = subtract(byte_of<kByte>(a), broadcast(e.a_zero)), right = subtract(byte_of<kByte>(b), broadcast(e.b_zero));
  return clamp(multiply(multiply(left, right), broadcast(e.scale)), -kFarOut, kFarOut);
}

template <class Function>
inline void each_pair(const gossamer::ByteBinaryArgs& args, const Function& function) {
  const gossamer::ByteBinaryArgs a = args;  // which no store of bytes can change
  const Bytes low = bytes_all(a.low), high = bytes_all(a.high);
  Bytes b{};
  if (a.one_cell) {
    uint8_t cells[kVectorBytes];
    for (int i = 0; i < kVectorBytes; ++i) cells[i] = a.b[i % 4];
    b = load_bytes(cells);
  }
  for (int64_t i = 0; i < a.bytes; i += kVectorBytes) {
    const int64_t left = a.bytes - i;
    const Bytes x = load_first(a.a + i, left);
    if (!a.one_cell) b = load_first(a.b + i, left);
    store_first(less(high, greater(low, function(a, x, b))), a.y + i, left);
  }
}

inline void add(const gossamer::ByteBinaryArgs& args) {
  each_pair(args, [](const gossamer::ByteBinaryArgs& e, Bytes a, Bytes b) {
    const Floats t[4] = {sum_of<0>(e, a, b), sum_of<1>(e, a, b), sum_of<2>(e, a, b), sum_of<3>(e, a, b)};
    return to_cells(t, e.zero);
  });
}

inline void multiply(const gossamer::ByteBinaryArgs& args) {
  each_pair(args, [](const gossamer::ByteBinaryArgs& e, Bytes a, Bytes b) {
    const Floats t[4] = {product_of<0>(e, a, b), product_of<1>(e, a, b), product_of<2>(e, a, b), product_of<3>(e, a, b)};
    return to_cells(t, e.zero);
  });
}

// --- any function of a byte ------------------------------------------------------------------------------------------

inline void look_up(const gossamer::ByteLookupArgs& a) {
  for (int64_t i = 0; i < a.bytes; i += kVectorBytes) {
    const int64_t left = a.bytes - i;
    store_first(entries_of(a.table, load_first(a.x + i, left)), a.y + i, left);
  }
}

// --- means -----------------------------------------------------------------------------------------------------------

// The sums of a plane's four channels.
inline void sums_of_plane(const uint8_t* x, int64_t pixels, int64_t (&sums)[4]) {
  constexpr int64_t kRun = 256;  // vectors whose sums fit 16 bits
  for (int64_t p = 0; p < pixels;) {
    Bytes even = no_bytes(), odd = no_bytes();
    for (int64_t n = 0; n < kRun && p < pixels; ++n, p += kLanes) {
      const Bytes cells = load_first(x + 4 * p, 4 * (pixels - p));  // zeros behind the end
      even = add_16(even, even_bytes(cells));
      odd = add_16(odd, odd_bytes(cells));
    }
    uint16_t halves[2][2 * kLanes];
    store_bytes(even, halves[0]);
    store_bytes(odd, halves[1]);
    for (int i = 0; i < kLanes; ++i)
      for (int k = 0; k < 4; ++k) sums[k] += halves[k % 2][2 * i + k / 2];
  }
}

inline void mean(const gossamer::CellMeanArgs& a) {
  for (int64_t plane = a.plane_begin; plane < a.plane_end; ++plane) {
    int64_t sums[4] = {};
    sums_of_plane(a.x + plane * a.pixels * 4, a.pixels, sums);
    for (int64_t k = 0; k < 4; ++k) {
      const float mean = static_cast<float>(sums[k] - a.pixels * a.zero) * a.scale;
      if (a.cells) {
        const float t = std::nearbyint(mean / a.y_scale) + static_cast<float>(a.y_zero);
        a.cells[4 * plane + k] = static_cast<uint8_t>(t > 0 ? (t < 255 ? t : 255) : 0);
      } else if (4 * plane + k < a.channels) {
        a.y[4 * plane + k] = mean;
      }
    }
  }
}

}  // namespace
