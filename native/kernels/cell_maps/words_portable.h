// Vectors of four cells of bytes, and of as many floats: plain C++. See words_avx512.h for what is not plain.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace {

constexpr int kLanes = 4;
constexpr int kVectorBytes = 16;

struct Bytes {
  uint8_t v[kVectorBytes];
};
struct Floats {
  float v[kLanes];
};

template <class Vector>
inline Vector load(const void* p) {
  Vector x;
  std::memcpy(&x, p, sizeof x);
  return x;
}
inline Bytes load_bytes(const void* p) { return load<Bytes>(p); }
inline void store_bytes(const Bytes& x, void* p) { std::memcpy(p, &x, sizeof x); }
inline Floats load_floats(const float* p) { return load<Floats>(p); }
inline void store_floats(const Floats& x, float* p) { std::memcpy(p, &x, sizeof x); }

template <class Function>
inline Floats each_float(const Function& f) {
  Floats y;
  for (int i = 0; i < kLanes; ++i) y.v[i] = f(i);
  return y;
}
template <class Function>
inline Bytes each_byte(const Function& f) {
  Bytes y;
  for (int i = 0; i < kVectorBytes; ++i) y.v[i] = static_cast<uint8_t>(f(i));
  return y;
}
inline Bytes bytes_all(int x) { return each_byte([&](int) { return x; }); }

inline Floats broadcast(float x) { return {{x, x, x, x}}; }
inline Floats subtract(const Floats& a, const Floats& b) { return each_float([&](int i) { return a.v[i] - b.v[i]; }); }
inline Floats multiply(const Floats& a, const Floats& b) { return each_float([&](int i) { return a.v[i] * b.v[i]; }); }
inline Floats divide(const Floats& a, const Floats& b) { return each_float([&](int i) { return a.v[i] / b.v[i]; }); }
inline Floats multiply_add(const Floats& a, const Floats& b, const Floats& c) {
  return each_float([&](int i) { return std::fma(a.v[i], b.v[i], c.v[i]); });
}
inline float clamp(float x, float low, float high) {
  x = x > low ? x : low;
  return x < high ? x : high;
}
inline Floats clamp(const Floats& x, float low, float high) {
  return each_float([&](int i) { return clamp(x.v[i], low, high); });
}

template <int kByte>
inline Floats byte_of(const Bytes& x) {
  return each_float([&](int i) { return static_cast<float>(x.v[4 * i + kByte]); });
}
inline Bytes to_cells(const Floats (&t)[4], int zero) {
  return each_byte([&](int i) { return clamp(std::nearbyint(t[i % 4].v[i / 4]) + static_cast<float>(zero), 0, 255); });
}

inline Bytes greater(const Bytes& a, const Bytes& b) { return each_byte([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; }); }
inline Bytes less(const Bytes& a, const Bytes& b) { return each_byte([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; }); }

inline Bytes every_second(const uint32_t* p) {
  Bytes y;
  for (int i = 0; i < kLanes; ++i) std::memcpy(y.v + 4 * i, p + 2 * i, 4);
  return y;
}

inline Bytes greater_of_pairs(const Bytes& a, const Bytes& b) {
  Bytes both[2] = {a, b};
  uint32_t cells[2 * kLanes], odd[kLanes];
  std::memcpy(cells, both, sizeof cells);
  for (int i = 0; i < kLanes; ++i) odd[i] = cells[2 * i + 1];
  return greater(every_second(cells), load<Bytes>(odd));
}

inline Bytes even_bytes(const Bytes& x) { return each_byte([&](int i) { return i % 2 == 0 ? x.v[i] : 0; }); }
inline Bytes odd_bytes(const Bytes& x) { return each_byte([&](int i) { return i % 2 == 0 ? x.v[i + 1] : 0; }); }
inline Bytes add_16(const Bytes& a, const Bytes& b) {
  uint16_t x[kVectorBytes / 2], y[kVectorBytes / 2];
  std::memcpy(x, &a, sizeof x);
  std::memcpy(y, &b, sizeof y);
  for (int i = 0; i < kVectorBytes / 2; ++i) x[i] = static_cast<uint16_t>(x[i] + y[i]);
  return load<Bytes>(x);
}
inline Bytes no_bytes() { return {}; }
template <int kHigh>
inline Floats half_of(const Bytes& x) {
  uint16_t halves[kVectorBytes / 2];
  std::memcpy(halves, &x, sizeof halves);
  return each_float([&](int i) { return static_cast<float>(halves[2 * i + kHigh]); });
}

inline Bytes entries_of(const uint8_t* table, const Bytes& x) {
  return each_byte([&](int i) { return table[x.v[i]]; });
}

}  // namespace

#include "kernels/cell_maps/words_part.h"
