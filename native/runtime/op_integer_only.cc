// The operators of domain "gossamer" (docs/operators.md): what integer-only networks need beside ConvInteger, MatMulInteger
// and the integer arithmetic of ONNX. No floating-point number occurs in them; docs/numerics.md, sections 7 and 9, say what
// they compute, to the bit.
#include <algorithm>
#include <array>

#include "kernels/integer/reference.h"
#include "runtime/errors.h"
#include "runtime/loops.h"

namespace gossamer {
namespace {

bool is_byte(std::optional<DType> type) { return type == DType::uint8 || type == DType::int8; }

void require_integers(const Node& node, const Types& inputs) {
  if (!is_byte(inputs[0]) && inputs[0] != DType::int32) reject_type(node, 0, *inputs[0], "int32, int8 and uint8");
}

void require_type(const Node& node, const Types& inputs, size_t i, DType type) {
  if (i < inputs.size() && inputs[i] && inputs[i] != type) reject_type(node, i, *inputs[i], dtype_name(type));
}

void require_one(const Inference& n, size_t i) {
  if (n.has(i) && element_count(n.shape(i)) != 1) n.fail("input " + std::to_string(i) + " has shape " + shape_text(n.shape(i)) + "; one number is due");
}

// An attribute that must be there, within bounds.
int64_t bounded(const Node& node, const char* name, int64_t least, int64_t most) {
  if (!node.find(name)) throw ModelError(node.label() + ": attribute '" + name + "' is missing");
  const int64_t value = node.integer(name, 0);
  if (value < least || value > most) {
    throw ModelError(node.label() + ": attribute '" + name + "' is " + std::to_string(value) + ", not within " + std::to_string(least) + " to " + std::to_string(most));
  }
  return value;
}

template <class Function>
Step with_integers(const Build& b, const Function& f) {
  switch (b.inputs[0]->dtype) {
    case DType::int8: return f(int8_t{});
    case DType::uint8: return f(uint8_t{});
    default: return f(int32_t{});
  }
}

// One number of an input of the first input's type; 0 where it is absent.
template <class T>
int64_t point_at(const Run& run, Slot slot) {
  return slot == kNoSlot ? 0 : *run.at<T>(slot);
}

// --- Requantize ------------------------------------------------------------------------------------------------------------

DType requantized_type(const Types& inputs) { return inputs.size() > 3 && inputs[3] ? *inputs[3] : DType::int32; }

std::vector<DType> requantize_types(const Node& node, const Types& inputs) {
  require_integers(node, inputs);
  require_type(node, inputs, 1, DType::int32);
  require_type(node, inputs, 2, DType::int32);
  require_type(node, inputs, 4, *inputs[0]);
  const DType out = requantized_type(inputs);
  if (!is_byte(out) && out != DType::int16 && out != DType::int32) reject_type(node, 3, out, "uint8, int8, int16 and int32");
  return {out};
}

void infer_requantize(Inference& n) {
  const Shape& x = n.shape(0);
  require_one(n, 3);
  require_one(n, 4);
  if (element_count(n.shape(1)) != element_count(n.shape(2))) n.fail("multipliers of shape " + shape_text(n.shape(1)) + ", shifts of shape " + shape_text(n.shape(2)));
  if (element_count(n.shape(1)) != 1) {
    const auto axis = static_cast<size_t>(wrap_axis(n.node.integer("axis", 1), static_cast<int64_t>(x.size()), n.node));
    if (n.shape(1) != Shape{x[axis]}) n.fail("multipliers of shape " + shape_text(n.shape(1)) + " for dimension " + std::to_string(axis) + " of " + shape_text(x));
  }
  n.outputs = {x};
}

template <class T>
const T* known(const Build& b, size_t i) {
  return reinterpret_cast<const T*>(b.inputs[i]->known);
}

void require_shifts(const Build& b) {
  if (!b.inputs[1]->known || !b.inputs[2]->known) throw Unsupported(b.node.label() + ": multipliers or shifts that are not constants");
  for (int64_t i = 0; i < element_count(b.shape(2)); ++i) {
    const int32_t shift = known<int32_t>(b, 2)[i];
    if (shift < -31 || shift > 31) throw ModelError(b.node.label() + ": a shift of " + std::to_string(shift) + "; -31 to 31 are due");
  }
}

struct Clamp {
  int32_t low, high;
};

template <class Out>
Clamp clamp_of(const Node& node) {
  const int64_t least = std::numeric_limits<Out>::min(), most = std::numeric_limits<Out>::max();
  const int64_t low = std::max(node.integer("low", least), least), high = std::min(node.integer("high", most), most);
  if (low > high) throw ModelError(node.label() + ": the clamp from " + std::to_string(low) + " to " + std::to_string(high) + " is empty");
  return {static_cast<int32_t>(low), static_cast<int32_t>(high)};
}

IntegerType integer_type(DType dtype) {
  switch (dtype) {
    case DType::int8: return IntegerType::int8;
    case DType::uint8: return IntegerType::uint8;
    case DType::int16: return IntegerType::int16;
    default: return IntegerType::int32;
  }
}

Clamp clamp_to(const Node& node, DType dtype) {
  switch (dtype) {
    case DType::int8: return clamp_of<int8_t>(node);
    case DType::uint8: return clamp_of<uint8_t>(node);
    case DType::int16: return clamp_of<int16_t>(node);
    default: return clamp_of<int32_t>(node);
  }
}

// One number of any of these types.
int32_t number_at(const Run& run, Slot slot, IntegerType type) {
  return slot == kNoSlot ? 0 : integer_at(run.at<std::byte>(slot), type, 0);
}

// Lines as the kernel walks them, which threads share out.
struct RequantizeLines {
  int64_t lines = 1, n = 1, channels = 1;
  bool by_column = false;
};

RequantizeLines requantize_lines(const Node& node, const Shape& x, bool many) {
  if (!many) {
    const size_t split = x.size() > 2 ? 2 : x.empty() ? 0 : 1;
    return {product(x, 0, split), product(x, split, x.size()), 1, false};
  }
  const auto axis = static_cast<size_t>(wrap_axis(node.integer("axis", 1), static_cast<int64_t>(x.size()), node));
  if (axis + 1 == x.size()) return {product(x, 0, axis), x[axis], x[axis], true};
  return {product(x, 0, axis + 1), product(x, axis + 1, x.size()), x[axis], false};
}

Step build_requantize(Build& b) {
  require_shifts(b);
  const DType out = b.outputs[0]->dtype;
  const RequantizeLines l = requantize_lines(b.node, b.shape(0), element_count(b.shape(1)) != 1);
  const Clamp clamp = clamp_to(b.node, out);
  const auto& kernel = fastest(kRequantizeKernels, b.isa);
  RequantizeArgs fixed;
  fixed.n = l.n;
  fixed.channels = l.by_column ? 1 : l.channels;
  fixed.by_column = l.by_column;
  fixed.from = integer_type(b.inputs[0]->dtype);
  fixed.to = integer_type(out);
  fixed.low = clamp.low;
  fixed.high = clamp.high;
  return {[=, from = b.in(0), factor = b.in(1), shift = b.in(2), zero = b.in(3), x_zero = b.in(4), to = b.out(), compute = kernel.run](const Run& run) {
            run.pool->share(l.lines, [&](int64_t begin, int64_t end, int) {
              RequantizeArgs a = fixed;
              a.x = run.at<std::byte>(from);
              a.x_zero = number_at(run, x_zero, a.from);
              a.multiplier = run.at<int32_t>(factor);
              a.right_shift = run.at<int32_t>(shift);
              a.zero = number_at(run, zero, a.to);
              a.y = run.at<std::byte>(to);
              a.line_begin = begin;
              a.line_end = end;
              compute(a);
            });
          },
          kernel.name, ""};
}

// --- IntegerSoftmax --------------------------------------------------------------------------------------------------------

constexpr int64_t kMostTerms = int64_t{1} << 30;  // of a sum of numbers below 2^31

std::vector<DType> softmax_types(const Node& node, const Types& inputs) {
  require_integers(node, inputs);
  return {DType::uint8};
}

struct Lines {
  int64_t outer = 1, n = 1, inner = 1;
};

Lines lines_of(const Node& node, const Shape& x) {
  const auto axis = static_cast<size_t>(wrap_axis(node.integer("axis", -1), static_cast<int64_t>(x.size()), node));
  return {product(x, 0, axis), x[axis], product(x, axis + 1, x.size())};
}

IntegerExponential exponential_of(const Node& node) {
  const IntegerExponential e{bounded(node, "ln2", 1, 46340), bounded(node, "b", 0, 46340), bounded(node, "c", 0, INT32_MAX)};
  const int64_t largest = std::max(e.b, e.ln2);
  if (e.b * e.b + e.c == 0 || largest * largest + e.c > INT32_MAX) {
    throw ModelError(node.label() + ": b^2 + c leaves 1 to 2^31 - 1: the input's scale is too small or too large, requantize it first");
  }
  return e;
}

void infer_softmax(Inference& n) {
  exponential_of(n.node);
  if (lines_of(n.node, n.shape(0)).n > kMostTerms) n.fail("more than 2^30 terms");
  n.outputs = {n.shape(0)};
}

constexpr int64_t kBytes = 256;

// The exponentials of all distances between bytes.
using Exponentials = std::array<int64_t, kBytes>;

Exponentials exponentials_of(const IntegerExponential& e) {
  Exponentials all;
  for (int64_t d = 0; d < kBytes; ++d) all[static_cast<size_t>(d)] = e.at(d);
  return all;
}

// exponential(d): e^-d of a distance from the greatest element.
template <class T, class Function>
void softmax_line(const T* x, const Lines& l, const Function& exponential, int64_t bits, uint8_t* y) {
  int64_t greatest = x[0], sum = 0;
  for (int64_t i = 1; i < l.n; ++i) greatest = std::max<int64_t>(greatest, x[i * l.inner]);
  for (int64_t i = 0; i < l.n; ++i) sum += exponential(greatest - x[i * l.inner]);
  const int64_t most = (int64_t{1} << bits) - 1;
  const auto share = [&](int64_t distance) { return static_cast<uint8_t>(std::min(most, round_divide(exponential(distance) << bits, sum))); };
  if (sizeof(T) > 1 || l.n < kBytes) {
    for (int64_t i = 0; i < l.n; ++i) y[i * l.inner] = share(greatest - x[i * l.inner]);
    return;
  }
  uint8_t shares[kBytes];  // fewer divisions than elements
  for (int64_t d = 0; d < kBytes; ++d) shares[d] = share(d);
  for (int64_t i = 0; i < l.n; ++i) y[i * l.inner] = shares[greatest - x[i * l.inner]];
}

Step build_softmax(Build& b) {
  const Lines l = lines_of(b.node, b.shape(0));
  const IntegerExponential e = exponential_of(b.node);
  const int64_t bits = b.node.find("bits") ? bounded(b.node, "bits", 1, 8) : 8;
  const Exponentials table = exponentials_of(e);
  return with_integers(b, [&]<class T>(T) -> Step {
    return {[=, x = b.in(0), y = b.out()](const Run& run) {
              const auto exponential = [&](int64_t distance) {
                if constexpr (sizeof(T) == 1) return table[static_cast<size_t>(distance)];
                else return e.at(distance);
              };
              run.pool->share(l.outer, [&](int64_t begin, int64_t end, int) {
                for (int64_t line = begin * l.inner; line < end * l.inner; ++line) {
                  const int64_t first = line / l.inner * l.n * l.inner + line % l.inner;
                  softmax_line(run.at<T>(x) + first, l, exponential, bits, run.at<uint8_t>(y) + first);
                }
              });
            },
            sizeof(T) == 1 ? "table" : "plain loop", ""};
  });
}

// --- IntegerGelu -----------------------------------------------------------------------------------------------------------

constexpr int64_t kMostGelu = int64_t{1} << 29;  // of c and of b^2: their sums with a factor of 32 bits fit 64

std::vector<DType> gelu_types(const Node& node, const Types& inputs) {
  require_integers(node, inputs);
  require_type(node, inputs, 1, *inputs[0]);
  return {DType::int32};
}

void infer_gelu(Inference& n) {
  require_one(n, 1);
  n.outputs = {n.shape(0)};
}

constexpr int64_t kShare = 4096;  // elements

Step build_gelu(Build& b) {
  const int64_t limit = bounded(b.node, "b", 1, integer_root(kMostGelu)), one = bounded(b.node, "c", 0, kMostGelu), count = element_count(b.shape(0));
  return with_integers(b, [&]<class T>(T) -> Step {
    return {[=, x = b.in(0), zero = b.in(1), y = b.out()](const Run& run) {
              const int64_t taken = point_at<T>(run, zero);
              const auto gelu = [&](int64_t value) { return integer_gelu(saturated_int32(value - taken), limit, one); };
              std::array<int32_t, kBytes> table;
              if constexpr (sizeof(T) == 1) {
                for (int64_t i = 0; i < kBytes; ++i) table[static_cast<size_t>(i)] = gelu(static_cast<T>(i));
              }
              run.pool->share((count + kShare - 1) / kShare, [&](int64_t begin, int64_t end, int) {
                const T* from = run.at<T>(x);
                int32_t* to = run.at<int32_t>(y);
                for (int64_t i = begin * kShare; i < std::min(end * kShare, count); ++i) {
                  if constexpr (sizeof(T) == 1) to[i] = table[static_cast<uint8_t>(from[i])];
                  else to[i] = gelu(from[i]);
                }
              });
            },
            sizeof(T) == 1 ? "table" : "plain loop", ""};
  });
}

// --- IntegerLayerNorm ------------------------------------------------------------------------------------------------------

constexpr int64_t kMostFeatures = 1 << 14, kMostElement = 1 << 23;  // the sum of squares stays below 2^63

std::vector<DType> norm_types(const Node& node, const Types& inputs) {
  require_integers(node, inputs);
  require_type(node, inputs, 1, DType::int32);
  require_type(node, inputs, 2, DType::int32);
  return {DType::int32};
}

void infer_norm(Inference& n) {
  const Shape& x = n.shape(0);
  if (x.empty() || x.back() > kMostFeatures) n.fail("input " + shape_text(x) + "; a last dimension of at most 16384 is due");
  for (const size_t i : {1, 2}) {
    if (n.has(i) && n.shape(i) != Shape{x.back()}) n.fail("input " + std::to_string(i) + " has shape " + shape_text(n.shape(i)) + "; " + shape_text({x.back()}) + " is due");
  }
  n.outputs = {x};
}

template <class T>
void norm_row(const T* x, int64_t n, int64_t bits, const int32_t* weight, const int32_t* bias, int32_t* y) {
  const auto element = [&](int64_t i) { return std::clamp<int64_t>(x[i], -kMostElement, kMostElement); };
  int64_t sum = 0, squares = 0;
  for (int64_t i = 0; i < n; ++i) sum += element(i);
  const int64_t mean = round_divide(sum, n);
  for (int64_t i = 0; i < n; ++i) squares += (element(i) - mean) * (element(i) - mean);
  const int64_t root = std::max<int64_t>(integer_root(static_cast<uint64_t>(squares)), 1);
  for (int64_t i = 0; i < n; ++i) {
    const int64_t normalized = round_divide((element(i) - mean) * (int64_t{1} << bits), root);
    y[i] = saturated_int32(normalized * weight[i] + (bias ? bias[i] : 0));
  }
}

Step build_norm(Build& b) {
  const int64_t n = b.shape(0).back(), rows = element_count(b.shape(0)) / std::max<int64_t>(n, 1);
  const int64_t bits = bounded(b.node, "fraction_bits", 1, 20);
  return with_integers(b, [&]<class T>(T) -> Step {
    return {[=, x = b.in(0), weight = b.in(1), bias = b.in(2), y = b.out()](const Run& run) {
              run.pool->share(rows, [&](int64_t begin, int64_t end, int) {
                for (int64_t row = begin; row < end; ++row) {
                  norm_row(run.at<T>(x) + row * n, n, bits, run.at<int32_t>(weight), run.at<int32_t>(bias), run.at<int32_t>(y) + row * n);
                }
              });
            },
            "plain loop", ""};
  });
}

constexpr Operator kOperators[] = {
    {"gossamer::Requantize", 3, 5, " axis high low ", requantize_types, infer_requantize, build_requantize},
    {"gossamer::IntegerSoftmax", 1, 1, " axis b bits c ln2 ", softmax_types, infer_softmax, build_softmax},
    {"gossamer::IntegerGelu", 1, 2, " b c ", gelu_types, infer_gelu, build_gelu},
    {"gossamer::IntegerLayerNorm", 2, 3, " fraction_bits ", norm_types, infer_norm, build_norm},
};

}  // namespace

std::span<const Operator> integer_only_operators() { return kOperators; }

}  // namespace gossamer
