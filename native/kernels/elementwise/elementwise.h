// Functions of one element, of two, and of one with a scale and shift per channel; fp32. NaN passes through all of them.
// Errors in units in the last place: docs/numerics.md, table of section 3.
#pragma once

#include <cstdint>

#include "kernels/row.h"

namespace gossamer {

// y = f(x); a and b are the parameters that the comment names.
enum class Unary {
  abs,
  ceil,
  clip,          // min(b, max(a, x)); Relu is a = 0, b = inf
  elu,           // x < 0 ? a (e^x - 1) : x
  erf,
  exp,
  floor,
  gelu,          // x (1 + erf(x / sqrt 2)) / 2
  gelu_tanh,     // x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2
  hard_sigmoid,  // clip(a x + b, 0, 1)
  hard_swish,    // x clip(x / 6 + 1/2, 0, 1)
  leaky_relu,    // x < 0 ? a x : x
  log,
  neg,
  reciprocal,
  round,         // to the nearest, ties to even
  sigmoid,       // 1 / (1 + e^-x)
  sign,
  softplus,      // log(1 + e^x)
  sqrt,
  tanh,
  // From here on one element at a time, through the C library, on every instruction set.
  cos,
  sin,
};
inline constexpr Unary kFirstScalarUnary = Unary::cos, kLastUnary = Unary::sin;

struct UnaryArgs {
  Unary op;
  int64_t n = 0;
  const float* x = nullptr;
  float* y = nullptr;  // may be x
  float a = 0, b = 0;
};

enum class Binary { add, sub, mul, div, max, min, pow, prelu };  // prelu: a where a >= 0, else a b
inline constexpr Binary kLastBinary = Binary::prelu;

// y[i] = clamp(op(a[i a_step], b[i b_step]), low, high); a step is 0 or 1.
struct BinaryArgs {
  Binary op;
  int64_t n = 0;
  const float* a = nullptr;
  const float* b = nullptr;
  float* y = nullptr;  // may be a or b
  int a_step = 1, b_step = 1;
  float low = 0, high = 0;
};

// y[p, i] = clamp(scale[p mod channels] x[p, i] + shift[p mod channels], low, high), planes of `inner` elements.
struct AffineArgs {
  int64_t planes = 0, channels = 0, inner = 0;
  const float* x = nullptr;
  const float* scale = nullptr;
  const float* shift = nullptr;
  float* y = nullptr;  // may be x
  float low = 0, high = 0;
};

// y = scale (clamp(round(x / scale) + zero, low, high) - zero): to the steps of an 8-bit quantization and back. NaN becomes
// the lowest step.
struct RoundArgs {
  int64_t n = 0;
  const float* x = nullptr;
  float* y = nullptr;  // may be x
  float scale = 1, zero = 0, low = 0, high = 255;
};

extern const Row<void (*)(const RoundArgs&)> kRoundKernels[kRowCount];
extern const Row<void (*)(const UnaryArgs&)> kUnaryKernels[kRowCount];
extern const Row<void (*)(const BinaryArgs&)> kBinaryKernels[kRowCount];
extern const Row<void (*)(const AffineArgs&)> kAffineKernels[kRowCount];

void round_portable(const RoundArgs&);
void round_avx2(const RoundArgs&);
void round_avx512(const RoundArgs&);
void unary_portable(const UnaryArgs&);
void unary_avx2(const UnaryArgs&);
void unary_avx512(const UnaryArgs&);
void binary_portable(const BinaryArgs&);
void binary_avx2(const BinaryArgs&);
void binary_avx512(const BinaryArgs&);
void affine_portable(const AffineArgs&);
void affine_avx2(const AffineArgs&);
void affine_avx512(const AffineArgs&);

// One element at a time, any function; what the rows above call for the functions that they do not vectorize.
void unary_scalar(const UnaryArgs&);
void binary_scalar(const BinaryArgs&);

}  // namespace gossamer
