// Integer products as ONNX writes them down, with plain loops: MatMulInteger, ConvInteger, QLinearMatMul, QLinearConv,
// DynamicQuantizeLinear. Sums are exact in 32 bits (they wrap around where those do not suffice); the QLinear forms
// requantize in float:  y = saturate(round_half_to_even(sum * (scale_a scale_b / scale_y)) + zero_point).
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/bytes/bytes.h"
#include "kernels/rows/rows.h"
#include "runtime/errors.h"
#include "runtime/integer_product.h"
#include "runtime/loops.h"
#include "runtime/window_nd.h"

namespace gossamer {
namespace {

bool is_byte(std::optional<DType> type) { return type == DType::uint8 || type == DType::int8; }

void require_bytes(const Node& node, const Types& inputs, std::initializer_list<size_t> which) {
  for (const size_t i : which) {
    if (i < inputs.size() && inputs[i] && !is_byte(inputs[i])) reject_type(node, i, *inputs[i], "uint8 and int8");
  }
}

// A quantized operand as 16-bit numbers from which the zero point is taken: -255 to 255.
void widen(const std::byte* from, bool is_signed, int64_t count, int zero, int16_t* to) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(from);
  for (int64_t i = 0; i < count; ++i) to[i] = static_cast<int16_t>((is_signed ? static_cast<int8_t>(bytes[i]) : bytes[i]) - zero);
}

int zero_at(const Run& run, Slot slot, bool is_signed, int64_t i) {
  if (slot == kNoSlot) return 0;
  return is_signed ? run.at<int8_t>(slot)[i] : run.at<uint8_t>(slot)[i];
}

void add_product(int32_t factor, const int16_t* x, int64_t n, int32_t* sum) {
  for (int64_t i = 0; i < n; ++i) sum[i] = static_cast<int32_t>(static_cast<uint32_t>(sum[i]) + static_cast<uint32_t>(factor * x[i]));
}

// Where the zero points of an operand are, and which one belongs to which row or column.
struct Zero {
  Slot slot = kNoSlot;
  bool is_signed = false, many = false;
  int at(const Run& run, int64_t i) const { return zero_at(run, slot, is_signed, many ? i : 0); }
};

Zero zero_of(const Build& b, size_t i) {
  return b.has(i) ? Zero{b.in(i), b.inputs[i]->dtype == DType::int8, element_count(b.shape(i)) > 1} : Zero{};
}

// What sums become: themselves, or requantized bytes.
struct Finish {
  bool requantizes = false, is_signed = false, many = false;
  Slot a_scale = kNoSlot, b_scale = kNoSlot, y_scale = kNoSlot, zero = kNoSlot;

  // `channel`: which of b's scales holds; `step`: 1 where the next sum has the next one.
  void operator()(const Run& run, const int32_t* sums, int64_t n, int64_t channel, int64_t step, Slot y, int64_t at) const {
    if (!requantizes) {
      std::copy_n(sums, n, run.at<int32_t>(y) + at);
      return;
    }
    const int point = zero_at(run, zero, is_signed, 0), low = is_signed ? -128 : 0, high = is_signed ? 127 : 255;
    for (int64_t i = 0; i < n; ++i) {
      const float scale = *run.at<float>(a_scale) * run.at<float>(b_scale)[many ? channel + i * step : 0] / *run.at<float>(y_scale);
      const float value = std::nearbyint(static_cast<float>(sums[i]) * scale);
      const float bounded = value > static_cast<float>(low - point) ? std::min(value, static_cast<float>(high - point)) : static_cast<float>(low - point);
      run.at<uint8_t>(y)[at + i] = static_cast<uint8_t>(static_cast<int>(bounded) + point);
    }
  }
};

Finish finish_of(const Build& b) {
  if (!b.node.op.starts_with("QLinear")) return {};
  return {true, b.outputs[0]->dtype == DType::int8, element_count(b.shape(4)) > 1, b.in(1), b.in(4), b.in(6), b.in(7)};
}

// The places of the operands among the inputs: QLinear forms have a scale and a zero point after each.
struct Operands {
  size_t b, a_zero, b_zero;
};

Operands operands(const Node& node) { return node.op.starts_with("QLinear") ? Operands{3, 2, 5} : Operands{1, 2, 3}; }

std::vector<DType> product_types(const Node& node, const Types& inputs) {
  const Operands o = operands(node);
  require_bytes(node, inputs, {0, o.b, o.a_zero, o.b_zero});
  for (const size_t i : {size_t{0}, o.b}) {
    const size_t zero = i == 0 ? o.a_zero : o.b_zero;
    if (zero < inputs.size() && inputs[zero] && inputs[zero] != inputs[i]) reject_type(node, zero, *inputs[zero], dtype_name(*inputs[i]));
  }
  if (!node.op.starts_with("QLinear")) return {DType::int32};
  for (const size_t i : {1, 4, 6}) {
    if (inputs[i] != DType::float32) reject_type(node, i, *inputs[i], "float32");
  }
  require_bytes(node, inputs, {7});
  if (inputs.size() > 8 && inputs[8] && inputs[8] != DType::int32) reject_type(node, 8, *inputs[8], "int32");
  return {*inputs[7]};
}

void require_count(const Inference& n, size_t i, int64_t most) {
  if (!n.has(i)) return;
  const int64_t count = element_count(n.shape(i));
  if (count != 1 && count != most) n.fail("input " + std::to_string(i) + " has shape " + shape_text(n.shape(i)) + ", where one element or " + std::to_string(most) + " are due");
}

void require_scalars(const Inference& n) {
  if (!n.node.op.starts_with("QLinear")) return;
  for (const size_t i : {1, 2, 6, 7}) require_count(n, i, 1);
}

// --- products of matrices --------------------------------------------------------------------------------------------------

struct Matrices {
  int64_t m = 1, n = 1, k = 1;
  Shape batch, out;
};

Matrices matrices_of(const Node& node, Shape a, Shape b) {
  if (a.empty() || b.empty()) throw ShapeError(node.label() + ": a product has no meaning for a scalar");
  const bool row = a.size() == 1, column = b.size() == 1;
  if (row) a.insert(a.begin(), 1);
  if (column) b.push_back(1);
  Matrices p;
  p.m = a[a.size() - 2];
  p.k = a.back();
  p.n = b.back();
  if (b[b.size() - 2] != p.k) throw ShapeError(node.label() + ": inner dimensions " + std::to_string(p.k) + " and " + std::to_string(b[b.size() - 2]) + " differ");
  p.batch = broadcast(Shape(a.begin(), a.end() - 2), Shape(b.begin(), b.end() - 2), node);
  p.out = p.batch;
  if (!row) p.out.push_back(p.m);
  if (!column) p.out.push_back(p.n);
  return p;
}

void infer_matmul(Inference& n) {
  const Operands o = operands(n.node);
  const Matrices p = matrices_of(n.node, n.shape(0), n.shape(o.b));
  require_scalars(n);
  require_count(n, o.a_zero, p.m);
  require_count(n, o.b_zero, p.n);
  if (n.node.op == "QLinearMatMul") require_count(n, 4, p.n);
  n.outputs = {p.out};
}

// The batch's offsets into one operand, in matrices.
int64_t matrix_at(const Shape& batch, const Shape& own, int64_t index) {
  const Shape matrices(own.begin(), own.end() - static_cast<int64_t>(std::min<size_t>(2, own.size())));
  const Shape strides = broadcast_strides(matrices, batch);
  int64_t at = 0;
  for (size_t d = batch.size(); d-- > 0;) {
    at += index % batch[d] * strides[d];
    index /= batch[d];
  }
  return at;
}

Step build_matmul(Build& b) {
  if (has_integer_product(b.node, b.model, b.inputs)) return integer_product_step(b);
  const Operands o = operands(b.node);
  const Matrices p = matrices_of(b.node, b.shape(0), b.shape(o.b));
  const Slot row = b.scratch(p.k * 2), right = b.scratch(p.k * p.n * 2), sums = b.scratch(p.n * 4);
  const bool a_signed = b.inputs[0]->dtype == DType::int8, b_signed = b.inputs[o.b]->dtype == DType::int8;
  return {[=, a = b.in(0), other = b.in(o.b), y = b.out(), a_zero = zero_of(b, o.a_zero), b_zero = zero_of(b, o.b_zero), finish = finish_of(b),
           a_shape = b.shape(0), b_shape = b.shape(o.b)](const Run& run) {
            for (int64_t pair = 0; pair < element_count(p.batch); ++pair) {
              const std::byte* left = run.at<std::byte>(a) + matrix_at(p.batch, a_shape, pair) * p.m * p.k;
              const std::byte* from = run.at<std::byte>(other) + matrix_at(p.batch, b_shape, pair) * p.k * p.n;
              int16_t* wide = run.at<int16_t>(right);
              widen(from, b_signed, p.k * p.n, b_zero.many ? 0 : b_zero.at(run, 0), wide);
              for (int64_t i = 0; b_zero.many && i < p.k * p.n; ++i) wide[i] = static_cast<int16_t>(wide[i] - b_zero.at(run, i % p.n));
              for (int64_t i = 0; i < p.m; ++i) {
                widen(left + i * p.k, a_signed, p.k, a_zero.at(run, i), run.at<int16_t>(row));
                std::fill_n(run.at<int32_t>(sums), p.n, 0);
                for (int64_t k = 0; k < p.k; ++k) add_product(run.at<int16_t>(row)[k], wide + k * p.n, p.n, run.at<int32_t>(sums));
                finish(run, run.at<int32_t>(sums), p.n, 0, 1, y, (pair * p.m + i) * p.n);
              }
            }
          },
          "plain loop", "", element_count(p.batch) * p.m * p.n * p.k};
}

// --- convolutions ----------------------------------------------------------------------------------------------------------

constexpr int64_t kBlock = 4096;  // output positions at a time

void infer_conv(Inference& n) {
  const Operands o = operands(n.node);
  const Shape &x = n.shape(0), &w = n.shape(o.b);
  const int64_t groups = n.node.integer("group", 1);
  if (x.size() < 3 || w.size() != x.size()) n.fail("input " + shape_text(x) + " and weights " + shape_text(w));
  if (groups < 1 || w[0] < 1 || w[0] % groups || w[1] < 1 || x[1] != w[1] * groups) n.fail("input " + shape_text(x) + " and weights " + shape_text(w) + " do not fit, group = " + std::to_string(groups));
  const WindowNd window = window_nd(n.node, x, Shape(w.begin() + 2, w.end()));
  require_scalars(n);
  require_count(n, o.a_zero, 1);
  require_count(n, o.b_zero, w[0]);
  if (n.node.op == "QLinearConv") require_count(n, 4, w[0]);
  if (n.has(8) && n.shape(8) != Shape{w[0]}) n.fail("the bias has shape " + shape_text(n.shape(8)));
  Shape out{x[0], w[0]};
  out.insert(out.end(), window.out.begin(), window.out.end());
  n.outputs = {out};
}

// Why a ConvInteger did not become one of kernels/cells while loading (integer_layers.cc).
std::string why_plain(const Build& b) {
  if (b.node.op != "ConvInteger") return "";
  if (!b.constant(1)) return "the weights are not constant";
  if (b.has(2) && !b.inputs[2]->known) return "the zero point of the input is computed while the network runs";
  if (b.shape(0).size() > 4) return "more than two spatial dimensions";
  return "weights less their zero point that do not fit int8, or sums that might not fit int32";
}

Step build_conv(Build& b) {
  const Operands o = operands(b.node);
  const Shape &x = b.shape(0), &weights = b.shape(o.b);
  const WindowNd w = window_nd(b.node, x, Shape(weights.begin() + 2, weights.end()));
  const int64_t groups = b.node.integer("group", 1), channels = weights[1], taps = w.taps(), rows = weights[0] / groups, out = w.outputs();
  const int64_t depth = channels * taps, block = std::min(kBlock, out);
  const bool x_signed = b.inputs[0]->dtype == DType::int8, w_signed = b.inputs[o.b]->dtype == DType::int8;
  const Slot patches = b.scratch(depth * block * 2), positions = b.scratch(block * 8), sums = b.scratch(block * 4), row = b.scratch(depth * 2);
  const Slot planes = b.scratch(channels * w.inputs() * 2);
  return {[=, from = b.in(0), other = b.in(o.b), bias = b.in(8), y = b.out(), x_zero = zero_of(b, o.a_zero), w_zero = zero_of(b, o.b_zero),
           finish = finish_of(b), parts = x[0] * groups](const Run& run) {
            int16_t *plane = run.at<int16_t>(planes), *patch = run.at<int16_t>(patches), *factors = run.at<int16_t>(row);
            for (int64_t g = 0; g < parts; ++g) {
              widen(run.at<std::byte>(from) + g * channels * w.inputs(), x_signed, channels * w.inputs(), x_zero.at(run, 0), plane);
              for (int64_t first = 0; first < out; first += block) {
                const int64_t count = std::min(block, out - first);
                int64_t* places = run.at<int64_t>(positions);
                for (int64_t tap = 0; tap < taps; ++tap) {
                  w.sources(tap, first, count, places);
                  for (int64_t c = 0; c < channels; ++c) {
                    for (int64_t i = 0; i < count; ++i) patch[(c * taps + tap) * count + i] = places[i] < 0 ? int16_t{0} : plane[c * w.inputs() + places[i]];
                  }
                }
                for (int64_t r = 0; r < rows; ++r) {
                  const int64_t channel = g % groups * rows + r;
                  widen(run.at<std::byte>(other) + channel * depth, w_signed, depth, w_zero.at(run, channel), factors);
                  std::fill_n(run.at<int32_t>(sums), count, bias == kNoSlot ? 0 : run.at<int32_t>(bias)[channel]);
                  for (int64_t k = 0; k < depth; ++k) add_product(factors[k], patch + k * count, count, run.at<int32_t>(sums));
                  finish(run, run.at<int32_t>(sums), count, channel, 0, y, (g * rows + r) * out + first);
                }
              }
            }
          },
          "plain loop", why_plain(b), x[0] * weights[0] * out * depth};
}

// --- DynamicQuantizeLinear -----------------------------------------------------------------------------------------------

std::vector<DType> dynamic_types(const Node& node, const Types& inputs) {
  if (inputs[0] != DType::float32) reject_type(node, 0, *inputs[0], "float32");
  return {DType::uint8, DType::float32, DType::uint8};
}

void infer_dynamic(Inference& n) { n.outputs = {n.shape(0), Shape{}, Shape{}}; }

float saturated(float x) { return x > 0 ? std::min(x, 255.0f) : 0; }

struct Range {
  float low = 0, high = 0;  // which holds zero
};

Range range_of(const float* x, int64_t count, void (*reduce)(const ReduceArgs&)) {
  if (count == 0) return {};
  Range range;
  reduce({Reduction::min, 1, count, 1, x, &range.low});
  reduce({Reduction::max, 1, count, 1, x, &range.high});
  if (range.low == range.low) return {std::min(range.low, 0.0f), std::max(range.high, 0.0f)};
  range = {};  // NaN is left out
  for (int64_t i = 0; i < count; ++i) range = {std::min(range.low, x[i]), std::max(range.high, x[i])};
  return range;
}

Step build_dynamic(Build& b) {
  const int64_t count = element_count(b.shape(0));
  const auto output = [&](size_t i) { return i < b.node.outputs.size() && b.node.outputs[i] != kAbsent ? b.slot_of(b.node.outputs[i]) : kNoSlot; };
  const auto& reduction = fastest(kReduceKernels, b.isa);
  const auto& kernel = fastest(kByteQuantizeKernels, b.isa);
  return {[=, reduce = reduction.run, quantize = kernel.run, x = b.in(0), y = b.out(), scale_to = output(1), zero_to = output(2)](const Run& run) {
            const float* values = run.at<float>(x);
            const auto [low, high] = range_of(values, count, reduce);
            const float scale = high == low ? 1.0f : (high - low) / 255.0f;
            const float zero = std::nearbyint(saturated(0 - low / scale));
            quantize({count, values, scale, static_cast<int>(zero), false, run.at<uint8_t>(y)});
            if (scale_to != kNoSlot) *run.at<float>(scale_to) = scale;
            if (zero_to != kNoSlot) *run.at<uint8_t>(zero_to) = static_cast<uint8_t>(zero);
          },
          kernel.name, ""};
}

constexpr const char* kConvAttributes = " auto_pad dilations group kernel_shape pads strides ";

constexpr Operator kOperators[] = {
    {"MatMulInteger", 2, 4, "", product_types, infer_matmul, build_matmul},
    {"QLinearMatMul", 8, 8, "", product_types, infer_matmul, build_matmul},
    {"ConvInteger", 2, 4, kConvAttributes, product_types, infer_conv, build_conv},
    {"QLinearConv", 8, 9, kConvAttributes, product_types, infer_conv, build_conv},
    {"DynamicQuantizeLinear", 1, 1, "", dynamic_types, infer_dynamic, build_dynamic},
};

}  // namespace

std::span<const Operator> integer_operators() { return kOperators; }

}  // namespace gossamer
