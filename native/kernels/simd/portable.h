// A vector of 4 floats in the compiler's own vector type: SSE2 on any x86-64, NEON on any AArch64.
//
// The headers of this folder define the same names, V and its functions, in an anonymous namespace, so that a
// kernel body written once is compiled once per instruction set and nothing of it is shared between objects (a
// function merged by the linker might be the AVX-512 copy, and crash a machine without it).
#pragma once

#include <cmath>
#include <cstdint>

namespace {

struct V {
  typedef float Native __attribute__((vector_size(16)));
  static constexpr int kLanes = 4;
  Native v;

  static V zero() { return {Native{0, 0, 0, 0}}; }
  static V broadcast(float x) { return {Native{x, x, x, x}}; }
  static V load(const float* p) { return {Native{p[0], p[1], p[2], p[3]}}; }
  // The first n lanes, 0 <= n <= kLanes; the rest is zero and not read.
  static V load(const float* p, int n) {
    V r = zero();
    for (int i = 0; i < n; ++i) r.v[i] = p[i];
    return r;
  }
  void store(float* p) const {
    for (int i = 0; i < 4; ++i) p[i] = v[i];
  }
  void store(float* p, int n) const {
    for (int i = 0; i < n; ++i) p[i] = v[i];
  }
  // Lanes of which `mask` has the bit, one after the other in memory; the others are zero.
  static V load_chosen(const float* p, uint32_t mask) {
    float all[kLanes] = {};
    for (int i = 0; i < kLanes; ++i) {
      if (mask >> i & 1u) all[i] = *p++;
    }
    return load(all);
  }
  void store_chosen(float* p, uint32_t mask) const {
    float all[kLanes];
    store(all);
    for (int i = 0; i < kLanes; ++i) {
      if (mask >> i & 1u) *p++ = all[i];
    }
  }
  template <class Index>
  static V gather(const float* base, const Index* index) {
    return {Native{base[index[0]], base[index[1]], base[index[2]], base[index[3]]}};
  }
  template <class Index>
  static V gather(const float* base, const Index* index, int n) {
    V r = zero();
    for (int i = 0; i < n; ++i) r.v[i] = base[index[i]];
    return r;
  }
  // Every second float of p[0 .. 2 kLanes - 1): p[0], p[2], ...; p[2 kLanes - 1] is not read.
  static V load_even(const float* p) { return {Native{p[0], p[2], p[4], p[6]}}; }
  static V load_even(const float* p, int n) {  // its first n lanes, 1 <= n; the rest is zero and not read
    V r = zero();
    for (int i = 0; i < n; ++i) r.v[i] = p[2 * i];
    return r;
  }
  // Lanes [begin, end) of a vector, either of which may lie outside it; the other lanes are zero and not read.
  struct Lanes {
    int begin, end;
  };
  using EvenLanes = Lanes;
  static Lanes lanes(int64_t begin, int64_t end) {
    return {begin < 0 ? 0 : begin > 4 ? 4 : static_cast<int>(begin), end < 0 ? 0 : end > 4 ? 4 : static_cast<int>(end)};
  }
  static EvenLanes even_lanes(int64_t begin, int64_t end) { return lanes(begin, end); }
  static V load(const float* p, Lanes lanes) {
    if (lanes.begin == 0 && lanes.end == 4) return load(p);
    V r = zero();
    for (int i = lanes.begin; i < lanes.end; ++i) r.v[i] = p[i];
    return r;
  }
  static V load_even(const float* p, EvenLanes lanes) {
    V r = zero();
    for (int i = lanes.begin; i < lanes.end; ++i) r.v[i] = p[2 * i];
    return r;
  }
  float sum() const { return (v[0] + v[2]) + (v[1] + v[3]); }
};

inline V operator+(V a, V b) { return {a.v + b.v}; }
inline V operator-(V a, V b) { return {a.v - b.v}; }
inline V operator*(V a, V b) { return {a.v * b.v}; }
inline V operator/(V a, V b) { return {a.v / b.v}; }
// a b + c; rounded once or twice, as the instruction set has it.
inline V fma(V a, V b, V c) { return {a.v * b.v + c.v}; }
// The larger (smaller); b where either is NaN.
inline V max_or_b(V a, V b) { return {a.v > b.v ? a.v : b.v}; }
inline V min_or_b(V a, V b) { return {a.v < b.v ? a.v : b.v}; }
// a where x is NaN, else b.
inline V if_nan(V x, V a, V b) { return {x.v != x.v ? a.v : b.v}; }
inline V if_less(V x, V y, V a, V b) { return {x.v < y.v ? a.v : b.v}; }
inline V abs(V x) { return {x.v < -x.v ? -x.v : (x.v == 0 ? V::zero().v : x.v)}; }
inline V sqrt(V x) {
  for (int i = 0; i < 4; ++i) x.v[i] = __builtin_sqrtf(x.v[i]);
  return x;
}
inline V round(V x) {
  for (int i = 0; i < 4; ++i) x.v[i] = __builtin_rintf(x.v[i]);
  return x;
}
// 2^n for a whole number n in [-126, 127].
// Each lane's upper or lower 16 bits as a float whose lower bits are zero: what bfloat16 stands for.
inline V upper_half(V x) {
  typedef uint32_t Bits __attribute__((vector_size(16)));
  return {__builtin_bit_cast(V::Native, __builtin_bit_cast(Bits, x.v) & 0xffff0000u)};
}
inline V lower_half(V x) {
  typedef uint32_t Bits __attribute__((vector_size(16)));
  return {__builtin_bit_cast(V::Native, __builtin_bit_cast(Bits, x.v) << 16)};
}
inline V power_of_two(V n) {
  typedef int32_t Ints __attribute__((vector_size(16)));
  const Ints exponent = __builtin_convertvector(n.v, Ints);
  union { Ints i; V::Native f; } bits;
  bits.i = (exponent + 127) << 23;
  return {bits.f};
}
// p 2^n for whole n: in two factors, so that neither leaves the exponent's range.
inline V scale_binary(V p, V n) {
  const V half = round(n * V::broadcast(0.5f));
  return p * power_of_two(half) * power_of_two(n - half);
}

// kLanes vectors as the rows of a matrix, to its columns.
inline void transpose(V (&rows)[4]) {
  for (int i = 0; i < 4; ++i) {
    for (int j = i + 1; j < 4; ++j) {
      const float upper = rows[i].v[j];
      rows[i].v[j] = rows[j].v[i];
      rows[j].v[i] = upper;
    }
  }
}

// x = m 2^n with m in [sqrt(1/2), sqrt(2)) and whole n, for a positive and normal x: returns m.
inline V split_binary(V x, V& n) {
  typedef int32_t Ints __attribute__((vector_size(16)));
  union { V::Native f; Ints i; } bits;
  bits.f = x.v;
  const Ints exponent = (bits.i - 0x3f3504f3) >> 23;
  bits.i -= exponent << 23;
  n.v = __builtin_convertvector(exponent, V::Native);
  return {bits.f};
}

// A codebook of at most 65536 centroids, looked up by kLanes indices at a time.
template <bool kSmall>
struct Centroids {
  const float* table;
  Centroids(const float* centroids, int) : table(centroids) {}
  template <class Index>
  V operator()(const Index* index) const {
    return V::gather(table, index);
  }
};
inline constexpr int kSmallCodebook = 0;  // no table fits a register here

}  // namespace
