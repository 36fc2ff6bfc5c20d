// Four channels of four pixels in plain C++: vector i holds pixel i.
#pragma once

#include <cmath>
#include <cstring>

#include "kernels/depthwise_cells/depthwise_cells.h"
#include "kernels/integer/fixed_point.h"

namespace {

constexpr int kLanes = 4;
constexpr int kTapBytes = gossamer::depthwise_tap_bytes(gossamer::CellForm::bytes);

struct Sum {
  int32_t v[4];
};
struct Floats {
  float v[4];
};
struct Cells {
  uint8_t v[kLanes][4];
};
using Bytes = Cells;
struct Taps {
  int8_t v[4][4];
};

template <class Words>
inline Words load(const void* p) {
  Words x;
  std::memcpy(&x, p, sizeof x);
  return x;
}
inline Cells load_cells(const uint32_t* p) { return load<Cells>(p); }
inline Taps load_taps(const char* p) { return load<Taps>(p); }
inline Sum load_sums(const int32_t* p) { return load<Sum>(p); }
inline Floats load_floats(const float* p) { return load<Floats>(p); }

template <int kFirst>
inline Sum multiply(const Cells& x, const Taps& taps, Sum sum) {
  for (int c = 0; c < 4; ++c)
    for (int i = 0; i < gossamer::kSegmentTaps; ++i) sum.v[c] += x.v[kFirst + i][c] * taps.v[c][i];
  return sum;
}

template <class Function>
inline Floats each(const Function& f) {
  Floats y;
  for (int c = 0; c < 4; ++c) y.v[c] = f(c);
  return y;
}
inline float clamp(float x, float low, float high) {
  x = x < low ? low : x;
  return x > high ? high : x;
}
inline Floats to_floats(Sum x) { return each([&](int c) { return static_cast<float>(x.v[c]); }); }
// Requantized, and held to 16 bits, which to_cells reads.
inline Sum fixed_point_16(Sum x, Sum multiplier, Sum right_shift) {
  for (int c = 0; c < 4; ++c) x.v[c] = gossamer::requantize(x.v[c], multiplier.v[c], right_shift.v[c], 0, INT16_MIN, INT16_MAX);
  return x;
}
inline Floats broadcast(float x) { return {{x, x, x, x}}; }
inline Floats multiply_add(Floats a, Floats b, Floats c) { return each([&](int i) { return std::fma(a.v[i], b.v[i], c.v[i]); }); }
inline Floats round(Floats x) { return each([&](int c) { return std::nearbyint(x.v[c]); }); }
inline Floats clamp(Floats x, Floats low, Floats high) { return each([&](int c) { return clamp(x.v[c], low.v[c], high.v[c]); }); }

template <int kVector>
inline Floats bytes_of(const Bytes& x) {
  return each([&](int c) { return static_cast<float>(x.v[kVector][c]); });
}
inline Bytes to_cells(const Floats (&t)[4], int zero) {
  Bytes y;
  for (int p = 0; p < kLanes; ++p)
    for (int c = 0; c < 4; ++c) y.v[p][c] = static_cast<uint8_t>(clamp(std::nearbyint(t[p].v[c]) + static_cast<float>(zero), 0, 255));
  return y;
}
inline Bytes clamp_bytes(Bytes x, int low, int high) {
  for (auto& cell : x.v)
    for (uint8_t& byte : cell) byte = static_cast<uint8_t>(byte < low ? low : byte > high ? high : byte);
  return x;
}

template <int kStep>
inline Bytes from_lanes(Bytes x) {
  return x;
}
template <int kStep>
inline Bytes to_lanes(Bytes x) {
  return x;
}

inline Bytes load_pixels(const uint32_t* p, const gossamer::CellBlock& block) {
  Bytes x{};
  for (int i = 0; i < kLanes; ++i) {
    if (block.mask >> i & 1u) std::memcpy(x.v[i], p++, 4);
  }
  return x;
}
inline void store_pixels(const Bytes& x, uint32_t* p, const gossamer::CellBlock& block) {
  for (int i = 0; i < kLanes; ++i) {
    if (block.mask >> i & 1u) std::memcpy(p++, x.v[i], 4);
  }
}

}  // namespace

#include "kernels/depthwise_cells/body.h"
