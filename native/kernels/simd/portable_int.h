// Vectors of 32-bit integers beside simd/portable.h, and the dot products of bytes that integer kernels are made of.
// Arithmetic wraps around.
#pragma once

#include <cstring>

#include "kernels/integer/fixed_point.h"
#include "kernels/simd/portable.h"

namespace {

struct I {
  typedef int32_t Native __attribute__((vector_size(16)));
  static constexpr int kLanes = 4;
  Native v;

  static I zero() { return {Native{0, 0, 0, 0}}; }
  static I broadcast(int32_t x) { return {Native{x, x, x, x}}; }
  static I load(const int32_t* p) { return {Native{p[0], p[1], p[2], p[3]}}; }
  static I load(const int32_t* p, int n) {
    I r = zero();
    for (int i = 0; i < n; ++i) r.v[i] = p[i];
    return r;
  }
  void store(int32_t* p) const {
    for (int i = 0; i < 4; ++i) p[i] = v[i];
  }
  void store(int32_t* p, int n) const {
    for (int i = 0; i < n; ++i) p[i] = v[i];
  }
  // kLanes bytes, widened with their sign or without.
  static I load_bytes(const uint8_t* p, bool is_signed) {
    I r;
    for (int i = 0; i < 4; ++i) r.v[i] = is_signed ? static_cast<int8_t>(p[i]) : p[i];
    return r;
  }
  // The lowest byte of each lane.
  void store_bytes(uint8_t* p) const {
    for (int i = 0; i < 4; ++i) p[i] = static_cast<uint8_t>(v[i]);
  }
};

inline I operator+(I a, I b) {
  typedef uint32_t Bits __attribute__((vector_size(16)));
  return {(I::Native)((Bits)a.v + (Bits)b.v)};
}
inline I operator&(I a, I b) { return {a.v & b.v}; }
// Zeros come in from above; 0 <= n < 32.
inline I operator>>(I a, I n) {
  typedef uint32_t Bits __attribute__((vector_size(16)));
  return {(I::Native)((Bits)a.v >> (Bits)n.v)};
}
inline I max(I a, I b) { return {a.v > b.v ? a.v : b.v}; }
inline I min(I a, I b) { return {a.v < b.v ? a.v : b.v}; }
// Equations (9) and (10) of docs/numerics.md before zero point and clamp.
inline I fixed_point(I x, I multiplier, I right_shift) {
  for (int i = 0; i < 4; ++i) x.v[i] = gossamer::fixed_point_multiply(x.v[i], multiplier.v[i], right_shift.v[i]);
  return x;
}
inline V to_float(I x) { return {__builtin_convertvector(x.v, V::Native)}; }
// To the nearest, half to even; for |x| < 2^31.
inline I nearest(V x) {
  I r;
  for (int i = 0; i < 4; ++i) r.v[i] = static_cast<int32_t>(__builtin_rintf(x.v[i]));
  return r;
}
// a b + c, rounded once on every instruction set.
inline V fused(V a, V b, V c) {
  for (int i = 0; i < 4; ++i) c.v[i] = __builtin_fmaf(a.v[i], b.v[i], c.v[i]);
  return c;
}

// Of how many registers a table can be looked up (codes/body.h): with
//   either(low, high, code)   what lane number `code` modulo 2 kLanes of two registers holds
//   if_bit(code, bit, a, b)   a where that bit of code is set, else b
inline constexpr int kLookupRegisters = 0;

// Four unsigned bytes, the same for every lane; four signed bytes for each lane.
struct Cell {
  int32_t byte[4];
  static Cell load(const uint8_t* p) { return {{p[0], p[1], p[2], p[3]}}; }
};
struct Weights {
  const int8_t* p;
  static Weights load(const int8_t* p) { return {p}; }
};
// Adds to each lane the inner product of its bytes.
inline I dot(I sum, const Cell& x, const Weights& w) {
  for (int i = 0; i < 4; ++i) {
    const int8_t* p = w.p + 4 * i;
    const int32_t add = x.byte[0] * p[0] + x.byte[1] * p[1] + x.byte[2] * p[2] + x.byte[3] * p[3];
    sum.v[i] = static_cast<int32_t>(static_cast<uint32_t>(sum.v[i]) + static_cast<uint32_t>(add));
  }
  return sum;
}

}  // namespace
