// QuantizeLinear and DequantizeLinear as ONNX writes them down, one element after the other: the plain path, for what no
// integer kernel takes over; bytes with one scale by kernels/bytes.
//   q = saturate(round_half_to_even(x / scale) + zero_point),   x = (q - zero_point) scale
#include <cmath>

#include "kernels/bytes/bytes.h"
#include "runtime/errors.h"
#include "runtime/op.h"
#include "runtime/scales.h"
#include "runtime/types.h"

namespace gossamer {
namespace {

ScaleLayout per_block(const Node& node, const Shape& x, const Shape& scale, size_t axis, int64_t block) {
  Shape wanted = x;
  wanted[axis] = x[axis] / block + (x[axis] % block != 0);  // which no size of a block overflows
  if (scale != wanted) {
    throw ShapeError(node.label() + ": the scales have shape " + shape_text(scale) + "; blocks of " + std::to_string(block) +
                     " need " + shape_text(wanted));
  }
  const int64_t inner = product(x, axis + 1, x.size());
  return {product(x, 0, axis), x[axis], inner, block, wanted[axis] * inner, inner, 1};
}

}  // namespace

ScaleLayout scale_layout(const Node& node, const Shape& x, const Shape& scale) {
  if (element_count(scale) == 1 && scale.size() <= 1) return {1, 1, element_count(x)};
  const auto axis = static_cast<size_t>(wrap_axis(node.integer("axis", 1), static_cast<int64_t>(x.size()), node));
  const int64_t block = node.integer("block_size", 0);
  if (block < 0) throw ModelError(node.label() + ": block_size is " + std::to_string(block));
  if (block > 0) return per_block(node, x, scale, axis, block);
  if (scale.size() != 1 || scale[0] != x[axis]) {
    throw ShapeError(node.label() + ": the scales have shape " + shape_text(scale) + "; dimension " + std::to_string(axis) +
                     " of " + shape_text(x) + " needs " + shape_text({x[axis]}));
  }
  return {product(x, 0, axis), x[axis], product(x, axis + 1, x.size()), 1, 0, 1, 0};
}

namespace {

void infer_linear(Inference& n) {
  scale_layout(n.node, n.shape(0), n.shape(1));
  const bool scalars = n.has(2) && element_count(n.shape(2)) == 1 && element_count(n.shape(1)) == 1;
  if (n.has(2) && !scalars && n.shape(2) != n.shape(1)) {
    n.fail("the zero points have shape " + shape_text(n.shape(2)) + ", the scales " + shape_text(n.shape(1)));
  }
  n.outputs = {n.shape(0)};
}

// Calls f(element, scale number, count): `count` neighbours from `element` on that share a scale.
template <class Function>
void each_run(const ScaleLayout& s, const Function& f) {
  for (int64_t o = 0; o < s.outer; ++o) {
    for (int64_t i = 0; i < s.n; ++i) {
      const int64_t first = (o * s.n + i) * s.inner, number = o * s.scale_outer + i / s.block * s.scale_step;
      if (s.scale_inner == 0) f(first, number, s.inner);
      for (int64_t j = 0; s.scale_inner != 0 && j < s.inner; ++j) f(first + j, number + j, 1);
    }
  }
}

// --- QuantizeLinear ------------------------------------------------------------------------------------------------------

std::vector<DType> quantize_types(const Node& node, const Types& inputs) {
  if (!is_float(*inputs[0]) && inputs[0] != DType::int32) reject_type(node, 0, *inputs[0], "float32, float16, float64 and int32");
  if (!is_float(*inputs[1])) reject_type(node, 1, *inputs[1], "float32, float16 and float64");
  std::optional<DType> type = inputs.size() > 2 ? inputs[2] : std::nullopt;
  if (const int64_t number = node.integer("output_dtype", 0)) {
    const auto asked = dtype_from_onnx(number);
    if (!asked) throw Unsupported(node.label() + ": output_dtype is ONNX type number " + std::to_string(number));
    if (type && type != asked) throw ModelError(node.label() + ": output_dtype is not the zero point's type");
    type = asked;
  }
  if (!type) return {DType::uint8};
  if (type != DType::uint8 && type != DType::int8 && type != DType::uint16 && type != DType::int16) {
    reject_type(node, 2, *type, "uint8, int8, uint16 and int16");
  }
  return {*type};
}

// round_half_to_even of |x| < 2^22: adding pushes the fraction out of the significand. Unlike nearbyint, a vector operation.
inline float rounded(float x) {
  constexpr float kPush = 12582912.0f;  // 1.5 * 2^23
  return (x + kPush) - kPush;
}

template <class In, class Out>
void quantize(const In* x, int64_t count, float scale, int point, Out* y) {
  const auto low = static_cast<float>(std::numeric_limits<Out>::min() - point);
  const auto high = static_cast<float>(std::numeric_limits<Out>::max() - point);
  for (int64_t i = 0; i < count; ++i) {
    const float v = static_cast<float>(x[i]) / scale;
    const float bounded = v > low ? (v < high ? v : high) : low;  // NaN becomes low
    y[i] = static_cast<Out>(static_cast<int>(rounded(bounded)) + point);
  }
}

template <class In, class Scale, class Out>
Step quantize_step(Build& b, const ScaleLayout& s) {
  return {[=, x = b.in(0), scale = b.in(1), zero = b.in(2), y = b.out()](const Run& run) {
            each_run(s, [&](int64_t first, int64_t at, int64_t count) {
              const int point = zero == kNoSlot ? 0 : run.at<Out>(zero)[at];
              quantize(run.at<In>(x) + first, count, static_cast<float>(run.at<Scale>(scale)[at]), point, run.at<Out>(y) + first);
            });
          },
          "plain loop", ""};
}

template <class T>
inline constexpr bool kIsNarrow = std::is_integral_v<T> && sizeof(T) <= 2;  // 8 or 16 bits

constexpr int64_t kChunk = 8192;  // elements that a thread takes at a time

// Calls f(begin, end) for pieces of n elements that are whole rows.
template <class Function>
void each_chunk(const Run& run, int64_t n, int64_t row, const Function& f) {
  const int64_t chunk = std::max<int64_t>(kChunk / row, 1) * row;
  run.pool->share((n + chunk - 1) / chunk, [&](int64_t begin, int64_t end, int) { f(begin * chunk, std::min(end * chunk, n)); });
}

bool is_byte(DType type) { return type == DType::uint8 || type == DType::int8; }

int point_of(const Run& run, Slot zero, bool is_signed) {
  if (zero == kNoSlot) return 0;
  return is_signed ? *run.at<int8_t>(zero) : *run.at<uint8_t>(zero);
}

Step byte_quantize_step(Build& b) {
  const auto& kernel = fastest(kByteQuantizeKernels, b.isa);
  const bool is_signed = b.outputs[0]->dtype == DType::int8;
  return {[=, n = element_count(b.shape(0)), quantize = kernel.run, x = b.in(0), scale = b.in(1), zero = b.in(2), y = b.out()](const Run& run) {
            each_chunk(run, n, 1, [&](int64_t begin, int64_t end) {
              quantize({end - begin, run.at<float>(x) + begin, *run.at<float>(scale), point_of(run, zero, is_signed), is_signed, run.at<uint8_t>(y) + begin});
            });
          },
          kernel.name, ""};
}

// With what was fused into it. Threads share rows, or where no bias belongs to columns, pieces of one long row.
Step byte_dequantize_step(Build& b) {
  const auto& kernel = fastest(kByteDequantizeKernels, b.isa);
  const int64_t count = element_count(b.shape(0)), row = b.epilogue.bias == kAbsent ? 1 : b.shape(0).back();
  ByteDequantizeArgs fixed;
  fixed.is_signed = b.inputs[0]->dtype == DType::int8;
  fixed.low = b.epilogue.low;
  fixed.high = b.epilogue.high;
  if (b.epilogue.residual != kAbsent) b.in_place.push_back(b.epilogue.residual);
  return {[=, dequantize = kernel.run, x = b.in(0), scale = b.in(1), zero = b.in(2), bias = b.optional(b.epilogue.bias),
           residual = b.optional(b.epilogue.residual), y = b.out()](const Run& run) {
            each_chunk(run, count, row, [&](int64_t begin, int64_t end) {
              ByteDequantizeArgs a = fixed;
              a.n = bias == kNoSlot ? end - begin : row;
              a.rows = (end - begin) / a.n;
              a.x = run.at<uint8_t>(x) + begin;
              a.scale = *run.at<float>(scale);
              a.zero = point_of(run, zero, a.is_signed);
              a.y = run.at<float>(y) + begin;
              a.bias = run.at<float>(bias);
              a.residual = residual == kNoSlot ? nullptr : run.at<float>(residual) + begin;
              dequantize(a);
            });
          },
          kernel.name, ""};
}

// One scale for all, and float32 on one side, bytes on the other.
bool has_kernel(const Build& b, const ValueInfo& real, const ValueInfo& quantized) {
  return element_count(b.shape(1)) == 1 && b.inputs[1]->dtype == DType::float32 && real.dtype == DType::float32 && is_byte(quantized.dtype);
}

Step build_quantize(Build& b) {
  if (has_kernel(b, *b.inputs[0], *b.outputs[0])) return byte_quantize_step(b);
  const ScaleLayout s = scale_layout(b.node, b.shape(0), b.shape(1));
  return with_type(b.outputs[0]->dtype, [&]<class Out>(Out) -> Step {
    if constexpr (kIsNarrow<Out>) {
      return with_type(b.inputs[0]->dtype, [&]<class In>(In) -> Step {
        if constexpr (kIsReal<In> || std::is_same_v<In, int32_t>) {
          return with_real(b.inputs[1]->dtype, [&]<class Scale>(Scale) { return quantize_step<In, Scale, Out>(b, s); });
        }
        throw Unsupported(b.node.label());
      });
    }
    throw Unsupported(b.node.label());
  });
}

// --- DequantizeLinear ----------------------------------------------------------------------------------------------------

std::vector<DType> dequantize_types(const Node& node, const Types& inputs) {
  const DType x = *inputs[0];
  if (x != DType::uint8 && x != DType::int8 && x != DType::uint16 && x != DType::int16 && x != DType::int32) {
    reject_type(node, 0, x, "uint8, int8, uint16, int16 and int32");
  }
  if (!is_float(*inputs[1])) reject_type(node, 1, *inputs[1], "float32, float16 and float64");
  if (inputs.size() > 2 && inputs[2] && inputs[2] != x) reject_type(node, 2, *inputs[2], std::string(dtype_name(x)) + ", as the first input");
  const int64_t number = node.integer("output_dtype", 0);
  if (!number) return {*inputs[1]};
  const auto asked = dtype_from_onnx(number);
  if (!asked || !is_float(*asked)) throw Unsupported(node.label() + ": output_dtype is ONNX type number " + std::to_string(number));
  return {*asked};
}

template <class In, class Scale, class Out>
void dequantize(const In* x, int64_t count, Scale scale, In point, Out* y) {
  using Exact = std::conditional_t<sizeof(In) == 4, int64_t, int>;
  for (int64_t i = 0; i < count; ++i) y[i] = static_cast<Out>(static_cast<Scale>(Exact{x[i]} - Exact{point}) * scale);
}

template <class In, class Scale, class Out>
Step dequantize_step(Build& b, const ScaleLayout& s) {
  return {[=, x = b.in(0), scale = b.in(1), zero = b.in(2), y = b.out()](const Run& run) {
            each_run(s, [&](int64_t first, int64_t at, int64_t count) {
              const In point = zero == kNoSlot ? In{0} : run.at<In>(zero)[at];
              dequantize(run.at<In>(x) + first, count, static_cast<Wide<Scale>>(run.at<Scale>(scale)[at]), point, run.at<Out>(y) + first);
            });
          },
          "plain loop", ""};
}

Step build_dequantize(Build& b) {
  if (has_kernel(b, *b.outputs[0], *b.inputs[0])) return byte_dequantize_step(b);
  const ScaleLayout s = scale_layout(b.node, b.shape(0), b.shape(1));
  return with_type(b.inputs[0]->dtype, [&]<class In>(In) -> Step {
    if constexpr (kIsNarrow<In> || std::is_same_v<In, int32_t>) {
      return with_real(b.inputs[1]->dtype, [&]<class Scale>(Scale) {
        return with_real(b.outputs[0]->dtype, [&]<class Out>(Out) { return dequantize_step<In, Scale, Out>(b, s); });
      });
    }
    throw Unsupported(b.node.label());
  });
}

constexpr Operator kOperators[] = {
    {"QuantizeLinear", 2, 3, " axis block_size output_dtype precision saturate ", quantize_types, infer_linear, build_quantize},
    {"DequantizeLinear", 2, 3, " axis block_size output_dtype ", dequantize_types, infer_linear, build_dequantize, Fusion::affine},
};

}  // namespace

std::span<const Operator> quantize_operators() { return kOperators; }

}  // namespace gossamer
