// Cells of four bytes in plain C++.
#pragma once

#include <cmath>
#include <cstring>

#include "kernels/cells/cells.h"
#include "kernels/integer/fixed_point.h"

namespace {

constexpr int kLanes = 4;
constexpr auto kRegisters = gossamer::CellRegisters::few;

struct Sum {
  using Element = int32_t;
  int32_t v[kLanes];
  static Sum broadcast(int32_t x) { return {{x, x, x, x}}; }
};

struct Cells {
  struct Weight {
    int8_t w[4];
  };
  static constexpr int kWeightBytes = 4;
  uint8_t x[kLanes][4];

  static Cells load(const uint32_t* p) {
    Cells cells;
    std::memcpy(cells.x, p, sizeof cells.x);
    return cells;
  }
  static Weight weight(const char* p) {
    Weight weight;
    std::memcpy(weight.w, p, sizeof weight.w);
    return weight;
  }
  Sum times(const Weight& w, Sum sum) const {
    for (int i = 0; i < kLanes; ++i)
      for (int k = 0; k < 4; ++k) sum.v[i] += x[i][k] * w.w[k];
    return sum;
  }
};

struct Floats {
  float v[kLanes];
};
struct Bytes {
  uint8_t v[kLanes][4];
};

template <class Function>
inline Floats each(const Function& f) {
  Floats y;
  for (int i = 0; i < kLanes; ++i) y.v[i] = f(i);
  return y;
}
inline float clamp(float x, float low, float high) {
  x = x < low ? low : x;
  return x > high ? high : x;
}
inline Floats to_floats(Sum x) { return each([&](int i) { return static_cast<float>(x.v[i]); }); }
// Requantized, and held to 16 bits, which to_cells reads.
inline Sum fixed_point_16(Sum x, int32_t multiplier, int32_t right_shift) {
  for (int32_t& v : x.v) v = gossamer::requantize(v, multiplier, right_shift, 0, INT16_MIN, INT16_MAX);
  return x;
}
inline Floats broadcast(float x) { return {{x, x, x, x}}; }
inline Floats multiply_add(Floats a, Floats b, Floats c) { return each([&](int i) { return std::fma(a.v[i], b.v[i], c.v[i]); }); }
inline Floats add(Floats a, Floats b) { return each([&](int i) { return a.v[i] + b.v[i]; }); }
inline Floats round(Floats x) { return each([&](int i) { return std::nearbyint(x.v[i]); }); }
inline Floats clamp(Floats x, Floats low, Floats high) { return each([&](int i) { return clamp(x.v[i], low.v[i], high.v[i]); }); }
template <int kByte>
inline Floats byte_of(Bytes x) {
  return each([&](int i) { return static_cast<float>(x.v[i][kByte]); });
}
inline Bytes to_cells(const Floats (&t)[4], int zero) {
  Bytes y;
  for (int i = 0; i < kLanes; ++i)
    for (int k = 0; k < 4; ++k) y.v[i][k] = static_cast<uint8_t>(clamp(std::nearbyint(t[k].v[i]) + static_cast<float>(zero), 0, 255));
  return y;
}
inline Bytes clamp_bytes(Bytes x, int low, int high) {
  for (auto& cell : x.v)
    for (uint8_t& byte : cell) byte = static_cast<uint8_t>(byte < low ? low : byte > high ? high : byte);
  return x;
}
inline void store_all(Bytes x, uint32_t* p) { std::memcpy(p, x.v, sizeof x.v); }
inline Bytes load_all(const uint32_t* p) {
  Bytes x;
  std::memcpy(x.v, p, sizeof x.v);
  return x;
}
inline Bytes bits_of(Sum x) {
  Bytes y;
  std::memcpy(y.v, x.v, sizeof x.v);
  return y;
}
inline Bytes bits_of(Floats x) {
  Bytes y;
  std::memcpy(y.v, x.v, sizeof x.v);
  return y;
}
inline Floats floats_of(Bytes x) {
  Floats y;
  std::memcpy(y.v, x.v, sizeof x.v);
  return y;
}

}  // namespace

#include "kernels/cells/lanes.h"
