// Functions of one element that no kernel has, bitwise operators, Mod, and tests for NaN and infinity.
#include <cmath>

#include "runtime/errors.h"
#include "runtime/loops.h"

namespace gossamer {
namespace {

// --- float functions -----------------------------------------------------------------------------------------------------

struct FunctionRow {
  const char* op;
  float (*function)(float x, float a, float b);
  const char *a_name = "", *b_name = "";  // the attributes that a and b are
  float a = 0, b = 0;  // and what they are where absent
};

float softplus(float x) { return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)); }
float sigmoid(float x) { return 1 / (1 + std::exp(-x)); }

constexpr FunctionRow kRows[] = {
    {"Acos", [](float x, float, float) { return std::acos(x); }},
    {"Acosh", [](float x, float, float) { return std::acosh(x); }},
    {"Asin", [](float x, float, float) { return std::asin(x); }},
    {"Asinh", [](float x, float, float) { return std::asinh(x); }},
    {"Atan", [](float x, float, float) { return std::atan(x); }},
    {"Atanh", [](float x, float, float) { return std::atanh(x); }},
    {"Celu", [](float x, float a, float) { return x < 0 ? a * std::expm1(x / a) : x; }, "alpha", "", 1},
    {"Cosh", [](float x, float, float) { return std::cosh(x); }},
    {"Mish", [](float x, float, float) { return x * std::tanh(softplus(x)); }},
    {"Selu", [](float x, float a, float b) { return b * (x > 0 ? x : a * std::expm1(x)); }, "alpha", "gamma",
     1.67326319217681884765625f, 1.05070102214813232421875f},
    {"Shrink", [](float x, float a, float b) { return x < -b ? x + a : x > b ? x - a : x != x ? x : 0; }, "bias", "lambd", 0, 0.5f},
    {"Sinh", [](float x, float, float) { return std::sinh(x); }},
    {"Softsign", [](float x, float, float) { return x / (1 + std::fabs(x)); }},
    {"Swish", [](float x, float a, float) { return x * sigmoid(a * x); }, "alpha", "", 1},
    {"Tan", [](float x, float, float) { return std::tan(x); }},
    {"ThresholdedRelu", [](float x, float a, float) { return x <= a ? 0 : x; }, "alpha", "", 1},
};

const FunctionRow& row_of(const Node& node) {
  for (const FunctionRow& row : kRows) {
    if (node.op == row.op) return row;
  }
  throw Unsupported(node.label());
}

Step build_function(Build& b) {
  const FunctionRow& row = row_of(b.node);
  const float first = b.node.real(row.a_name, row.a), second = b.node.real(row.b_name, row.b);
  b.in_place.push_back(b.node.inputs[0]);
  Step step = map_step<float, float>(b, [=, f = row.function](float x) { return f(x, first, second); });
  step.note = "one element at a time, through the C library";
  return step;
}

std::vector<DType> alike_types(const Node& node, const Types& inputs) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i] != inputs[0]) reject_type(node, i, *inputs[i], std::string(dtype_name(*inputs[0])) + ", as the first input");
  }
  return {*inputs[0]};
}

// --- NaN and infinity ----------------------------------------------------------------------------------------------------

std::vector<DType> test_types(const Node& node, const Types& inputs) {
  if (!is_float(*inputs[0])) reject_type(node, 0, *inputs[0], "float32, float16 and float64");
  return {DType::boolean};
}

Step build_test(Build& b) {
  const bool negative = b.node.integer("detect_negative", 1) != 0, positive = b.node.integer("detect_positive", 1) != 0;
  const bool nan = b.node.op == "IsNaN";
  return with_real(b.inputs[0]->dtype, [&]<class T>(T) {
    return map_step<T, uint8_t>(b, [=](T element) -> uint8_t {
      const auto x = static_cast<Wide<T>>(element);
      return nan ? std::isnan(x) : std::isinf(x) && (x < 0 ? negative : positive);
    });
  });
}

// --- bits, Mod -----------------------------------------------------------------------------------------------------------

bool is_whole(DType type) { return !is_float(type) && type != DType::boolean; }

std::vector<DType> whole_types(const Node& node, const Types& inputs) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!is_whole(*inputs[i])) reject_type(node, i, *inputs[i], "integers");
  }
  return alike_types(node, inputs);
}

std::vector<DType> shift_types(const Node& node, const Types& inputs) {
  const std::string direction = node.text("direction", "");
  if (direction != "LEFT" && direction != "RIGHT") throw ModelError(node.label() + ": direction is '" + direction + "'");
  const DType x = *inputs[0];
  if (x != DType::uint8 && x != DType::uint16 && x != DType::uint32 && x != DType::uint64) reject_type(node, 0, x, "unsigned integers");
  return alike_types(node, inputs);
}

template <class T>
Step bits_step(Build& b) {
  const std::string& op = b.node.op;
  if (op == "BitwiseAnd") return zip_step<T, T, T>(b, [](T x, T y) { return static_cast<T>(x & y); });
  if (op == "BitwiseOr") return zip_step<T, T, T>(b, [](T x, T y) { return static_cast<T>(x | y); });
  if (op == "BitwiseXor") return zip_step<T, T, T>(b, [](T x, T y) { return static_cast<T>(x ^ y); });
  if (op == "BitwiseNot") return map_step<T, T>(b, [](T x) { return static_cast<T>(~x); });
  const bool left = b.node.text("direction", "") == "LEFT";
  return zip_step<T, T, T>(b, [left](T x, T y) {
    if (y >= 8 * sizeof(T)) return T{0};
    return static_cast<T>(left ? uint64_t{x} << y : uint64_t{x} >> y);
  });
}

Step build_bits(Build& b) {
  return with_bits(b.inputs[0]->dtype, [&]<class T>(T) { return bits_step<T>(b); });
}

std::vector<DType> mod_types(const Node& node, const Types& inputs) {
  if (inputs[0] == DType::boolean) reject_type(node, 0, *inputs[0], "numbers");
  return alike_types(node, inputs);
}

// The remainder has the sign of y, or with `truncate` that of x.
template <class T>
T real_remainder(T x, T y, bool truncate) {
  const T rest = std::fmod(x, y);
  if (truncate) return rest;
  if (rest == 0) return std::copysign(rest, y);
  return (rest < 0) != (y < 0) ? rest + y : rest;
}

// The same for integers; by zero it is zero.
template <class T>
T remainder_of(T x, T y, bool truncate) {
  if (y == 0) return 0;
  if constexpr (std::is_signed_v<T>) {
    if (y == -1) return 0;
    const T rest = static_cast<T>(x % y);
    return !truncate && rest != 0 && (rest < 0) != (y < 0) ? static_cast<T>(rest + y) : rest;
  }
  return static_cast<T>(x % y);
}

Step build_mod(Build& b) {
  const bool truncate = b.node.integer("fmod", 0) != 0;
  return with_type(b.inputs[0]->dtype, [&]<class T>(T) {
    if constexpr (kIsReal<T>) {
      return zip_step<T, T, T>(b, [truncate](T x, T y) { return static_cast<T>(real_remainder(static_cast<Wide<T>>(x), static_cast<Wide<T>>(y), truncate)); });
    } else {
      return zip_step<T, T, T>(b, [truncate](T x, T y) { return remainder_of(x, y, truncate); });
    }
  });
}

constexpr Operator function(const char* name, const char* attributes = "") {
  return {name, 1, 1, attributes, float_types, infer_same, build_function};
}

constexpr Operator bits(const char* name) { return {name, 2, 2, "", whole_types, infer_broadcast, build_bits}; }

constexpr Operator kOperators[] = {
    function("Acos"), function("Acosh"), function("Asin"), function("Asinh"), function("Atan"), function("Atanh"),
    function("Celu", " alpha "), function("Cosh"), function("Mish"), function("Selu", " alpha gamma "),
    function("Shrink", " bias lambd "), function("Sinh"), function("Softsign"), function("Swish", " alpha "), function("Tan"),
    function("ThresholdedRelu", " alpha "),
    {"IsNaN", 1, 1, "", test_types, infer_same, build_test},
    {"IsInf", 1, 1, " detect_negative detect_positive ", test_types, infer_same, build_test},
    bits("BitwiseAnd"), bits("BitwiseOr"), bits("BitwiseXor"),
    {"BitwiseNot", 1, 1, "", whole_types, infer_same, build_bits},
    {"BitShift", 2, 2, " direction ", shift_types, infer_broadcast, build_bits},
    {"Mod", 2, 2, " fmod ", mod_types, infer_broadcast, build_mod},
};

}  // namespace

std::span<const Operator> function_operators() { return kOperators; }

}  // namespace gossamer
