// Functions of one, two or three elements with broadcasting; casts, comparisons and logic.
#include <cmath>

#include "kernels/half/half.h"
#include "runtime/element_functions.h"
#include "runtime/errors.h"
#include "runtime/op.h"
#include "runtime/loops.h"

namespace gossamer {
namespace {

constexpr int64_t kWorthSharing = 65536;  // elements; below, waking a thread costs more than it brings

// --- one element ---------------------------------------------------------------------------------------------------------

Step build_unary(Build& b) {
  UnaryArgs fixed = unary_args(b.node, *unary_of(b.node));
  fixed.n = element_count(b.out_shape());
  b.in_place.push_back(b.node.inputs[0]);
  const auto& kernel = fastest(kUnaryKernels, b.isa);
  const bool scalar = fixed.op >= kFirstScalarUnary;
  const bool bounded = b.node.op == "Clip";
  const Slot low = bounded ? b.in(1) : kNoSlot, high = bounded ? b.in(2) : kNoSlot;
  return {[=, x = b.in(0), y = b.out(), run_all = kernel.run](const Run& run) {
            const auto part = [&](int64_t begin, int64_t end, int) {
              UnaryArgs u = fixed;
              u.n = end - begin;
              u.x = run.at<float>(x) + begin;
              u.y = run.at<float>(y) + begin;
              if (low != kNoSlot) u.a = *run.at<float>(low);
              if (high != kNoSlot) u.b = *run.at<float>(high);
              run_all(u);
            };
            if (fixed.n < kWorthSharing) part(0, fixed.n, 0);
            else run.pool->share(fixed.n, part);
          },
          kernel.name, scalar ? "one element at a time, through the C library" : ""};
}

// --- the same for other types --------------------------------------------------------------------------------------------

std::vector<DType> number_types(const Node& node, const Types& inputs) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i] == DType::boolean) reject_type(node, i, DType::boolean, "numbers");
    if (inputs[i] && inputs[i] != inputs[0]) reject_type(node, i, *inputs[i], std::string(dtype_name(*inputs[0])) + ", as the first input");
  }
  return {*inputs[0]};
}

void infer_clip(Inference& n) {
  for (size_t i = 1; i < 3; ++i) {
    if (n.has(i) && element_count(n.shape(i)) != 1) n.fail("a bound is not one number");
  }
  infer_same(n);
}

template <class T>
Step typed_clip(Build& b) {
  const int64_t n = element_count(b.out_shape());
  return {[=, x = b.in(0), y = b.out(), low = b.in(1), high = b.in(2)](const Run& run) {
            const T *from = run.at<T>(x), *least = run.at<T>(low), *most = run.at<T>(high);
            for (int64_t i = 0; i < n; ++i) {
              T value = from[i];
              if (least && value < *least) value = *least;
              if (most && value > *most) value = *most;
              run.at<T>(y)[i] = value;
            }
          },
          "plain loop", ""};
}

template <class T>
Step typed_unary(Build& b) {
  using W = std::conditional_t<kIsReal<T>, Wide<T>, uint64_t>;  // integers wrap around
  const std::string& op = b.node.op;
  if (op == "Clip") return typed_clip<T>(b);
  if (op == "Neg") return map_step<T, T>(b, [](T x) { return static_cast<T>(-static_cast<W>(x)); });
  if (op == "Abs") return map_step<T, T>(b, [](T x) { return x < T{0} ? static_cast<T>(-static_cast<W>(x)) : x; });
  if (op == "Sign") return map_step<T, T>(b, [](T x) { return x > T{0} ? T{1} : x < T{0} ? static_cast<T>(-1) : x; });
  return map_step<T, T>(b, [](T x) { return x < T{0} ? T{0} : x; });  // Relu
}

Step build_number(Build& b) {
  if (b.inputs[0]->dtype == DType::float32) return build_unary(b);
  return with_type(b.inputs[0]->dtype, [&]<class T>(T) { return typed_unary<T>(b); });
}

// --- two elements --------------------------------------------------------------------------------------------------------

// Both inputs of one type. ONNX lets the exponent of Pow have its own.
std::vector<DType> arithmetic_types(const Node& node, const Types& inputs) {
  if (inputs[0] == DType::boolean) reject_type(node, 0, *inputs[0], "numbers");
  if (node.op != "Pow" && inputs[1] != inputs[0]) reject_type(node, 1, *inputs[1], std::string(dtype_name(*inputs[0])) + ", as the first input");
  return {*inputs[0]};
}

void infer_prelu(Inference& n) {
  infer_broadcast(n);
  if (n.outputs[0] != n.shape(0)) n.fail("the slope does not broadcast to the input");
}

Step build_float_binary(Build& b) {
  const Walk walk = broadcast_walk(b);
  BinaryArgs fixed{*binary_of(b.node)};
  fixed.n = walk.inner();
  fixed.a_step = walk.inner_stride(1) != 0;
  fixed.b_step = walk.inner_stride(2) != 0;
  fixed.low = b.epilogue.low;
  fixed.high = b.epilogue.high;
  for (size_t i = 0; i < 2; ++i) {
    if (b.shape(i) == b.out_shape()) b.in_place.push_back(b.node.inputs[i]);
  }
  const auto& kernel = fastest(kBinaryKernels, b.isa);
  return {[=, x = b.in(0), y = b.in(1), out = b.out(), run_all = kernel.run](const Run& run) {
            const float *left = run.at<float>(x), *right = run.at<float>(y);
            float* to = run.at<float>(out);
            walk.each_run([&](int64_t out_at, int64_t left_at, int64_t right_at) {
              BinaryArgs g = fixed;
              g.a = left + left_at;
              g.b = right + right_at;
              g.y = to + out_at;
              run_all(g);
            });
          },
          kernel.name, ""};
}

template <class T>
T whole_power(T base, T exponent) {
  if constexpr (std::is_signed_v<T>) {
    if (exponent < 0) return base == 1 ? T{1} : base == -1 ? (exponent % 2 ? T{-1} : T{1}) : T{0};
  }
  using Bits = std::make_unsigned_t<T>;
  uint64_t result = 1, square = static_cast<Bits>(base);
  for (auto left = static_cast<Bits>(exponent); left; left = static_cast<Bits>(left >> 1)) {
    if (left & 1) result *= square;
    square *= square;
  }
  return static_cast<T>(result);
}

// Integer arithmetic wraps around, as NumPy's does; division truncates, and by zero gives zero.
template <class T>
T whole(Binary op, T a, T b) {
  const auto x = static_cast<uint64_t>(a), y = static_cast<uint64_t>(b);
  switch (op) {
    case Binary::add: return static_cast<T>(x + y);
    case Binary::sub: return static_cast<T>(x - y);
    case Binary::mul: return static_cast<T>(x * y);
    case Binary::div: return b == 0 ? T{0} : b == static_cast<T>(-1) && std::is_signed_v<T> ? static_cast<T>(0 - x) : static_cast<T>(a / b);
    case Binary::max: return a > b ? a : b;
    case Binary::min: return a < b ? a : b;
    case Binary::pow: return whole_power(a, b);
    case Binary::prelu: return a < 0 ? static_cast<T>(x * y) : a;
  }
  return 0;
}

template <class T>
T real(Binary op, T a, T b) {
  switch (op) {
    case Binary::add: return a + b;
    case Binary::sub: return a - b;
    case Binary::mul: return a * b;
    case Binary::div: return a / b;
    case Binary::max: return a != a || a > b ? a : b;
    case Binary::min: return a != a || a < b ? a : b;
    case Binary::pow: return std::pow(a, b);
    case Binary::prelu: return a < 0 ? a * b : a;
  }
  return 0;
}

template <class T>
Step typed_binary(Build& b, Binary op) {
  if constexpr (kIsReal<T>) {
    return zip_step<T, T, T>(b, [op](T x, T y) { return static_cast<T>(real<Wide<T>>(op, static_cast<Wide<T>>(x), static_cast<Wide<T>>(y))); });
  } else {
    return zip_step<T, T, T>(b, [op](T x, T y) { return whole(op, x, y); });
  }
}

// Base and exponent of different types: computed in double precision.
Step mixed_power(Build& b) {
  return with_type(b.inputs[0]->dtype, [&]<class T>(T) {
    return with_type(b.inputs[1]->dtype, [&]<class E>(E) {
      return zip_step<T, E, T>(b, [](T x, E y) { return converted<T>(std::pow(static_cast<double>(x), static_cast<double>(y))); });
    });
  });
}

Step build_binary(Build& b) {
  const DType type = b.inputs[0]->dtype;
  if (type != b.inputs[1]->dtype) return mixed_power(b);
  if (type == DType::float32) return build_float_binary(b);
  const Binary op = *binary_of(b.node);
  return with_type(type, [&]<class T>(T) { return typed_binary<T>(b, op); });
}

// --- comparisons, logic, choice ------------------------------------------------------------------------------------------

std::vector<DType> compare_types(const Node& node, const Types& inputs) {
  if (inputs[0] != inputs[1]) reject_type(node, 1, *inputs[1], std::string(dtype_name(*inputs[0])) + ", as the first input");
  return {DType::boolean};
}

template <class T>
Step compare_step(Build& b) {
  const std::string& op = b.node.op;
  if (op == "Equal") return zip_step<T, T, uint8_t>(b, [](T x, T y) { return x == y; });
  if (op == "Greater") return zip_step<T, T, uint8_t>(b, [](T x, T y) { return x > y; });
  if (op == "GreaterOrEqual") return zip_step<T, T, uint8_t>(b, [](T x, T y) { return x >= y; });
  if (op == "Less") return zip_step<T, T, uint8_t>(b, [](T x, T y) { return x < y; });
  return zip_step<T, T, uint8_t>(b, [](T x, T y) { return x <= y; });
}

Step build_compare(Build& b) {
  return with_type(b.inputs[0]->dtype, [&]<class T>(T) { return compare_step<T>(b); });
}

std::vector<DType> logic_types(const Node& node, const Types& inputs) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i] != DType::boolean) reject_type(node, i, *inputs[i], "bool");
  }
  return {DType::boolean};
}

Step build_logic(Build& b) {
  const std::string& op = b.node.op;
  if (op == "And") return zip_step<uint8_t, uint8_t, uint8_t>(b, [](uint8_t x, uint8_t y) { return x && y; });
  if (op == "Or") return zip_step<uint8_t, uint8_t, uint8_t>(b, [](uint8_t x, uint8_t y) { return x || y; });
  if (op == "Xor") return zip_step<uint8_t, uint8_t, uint8_t>(b, [](uint8_t x, uint8_t y) { return !x != !y; });
  return zip_step<uint8_t, uint8_t, uint8_t>(b, [](uint8_t x, uint8_t) { return !x; });
}

std::vector<DType> where_types(const Node& node, const Types& inputs) {
  if (inputs[0] != DType::boolean) reject_type(node, 0, *inputs[0], "bool");
  if (inputs[1] != inputs[2]) reject_type(node, 2, *inputs[2], std::string(dtype_name(*inputs[1])) + ", as the second input");
  return {*inputs[1]};
}

template <class T>
Step where_step(Build& b) {
  const Shape& out = b.out_shape();
  const Walk walk = make_walk(out, broadcast_strides(b.shape(0), out), broadcast_strides(b.shape(1), out),
                              broadcast_strides(b.shape(2), out));
  return {[=, c = b.in(0), x = b.in(1), y = b.in(2), to = b.out()](const Run& run) {
            const uint8_t* condition = run.at<uint8_t>(c);
            const T *left = run.at<T>(x), *right = run.at<T>(y);
            T* next = run.at<T>(to);
            walk.each_run([&](int64_t i, int64_t j, int64_t k) {
              for (int64_t t = 0; t < walk.inner(); ++t) {
                const bool first = condition[i + t * walk.inner_stride(0)];
                *next++ = first ? left[j + t * walk.inner_stride(1)] : right[k + t * walk.inner_stride(2)];
              }
            });
          },
          "plain loop", ""};
}

Step build_where(Build& b) {
  return with_bits(b.inputs[1]->dtype, [&]<class T>(T) { return where_step<T>(b); });
}

// --- Cast ----------------------------------------------------------------------------------------------------------------

std::vector<DType> cast_types(const Node& node, const Types&) {
  const int64_t number = node.integer("to", 0);
  if (const auto type = dtype_from_onnx(number)) return {*type};
  throw Unsupported(node.label() + ": a cast to ONNX type number " + std::to_string(number) +
                    "; " + dtype_names() + " are supported");
}

// Between float16 and float32, whole vectors at a time.
template <class Args, class AnyRow>
Step half_step(Build& b, const AnyRow& kernel) {
  const int64_t n = element_count(b.out_shape());
  return {[=, convert = kernel.run, in = b.in(0), out = b.out()](const Run& run) {
            Args all{n};
            all.x = run.at<std::remove_reference_t<decltype(*all.x)>>(in);
            all.y = run.at<std::remove_reference_t<decltype(*all.y)>>(out);
            if (n < kWorthSharing) return convert(all);
            run.pool->share(n, [&](int64_t begin, int64_t end, int) { convert({end - begin, all.x + begin, all.y + begin}); });
          },
          kernel.name, ""};
}

template <class From, class To, bool kToBool>
Step cast_step(Build& b) {
  return map_step<From, To>(b, [](From x) { return kToBool ? static_cast<To>(x != 0) : converted<To>(x); });
}

Step build_cast(Build& b) {
  const DType from = b.inputs[0]->dtype, to = b.outputs[0]->dtype;
  if (from == DType::float16 && to == DType::float32) return half_step<HalfToFloatArgs>(b, fastest(kHalfToFloatKernels, b.isa));
  if (from == DType::float32 && to == DType::float16) return half_step<FloatToHalfArgs>(b, fastest(kFloatToHalfKernels, b.isa));
  return with_type(b.inputs[0]->dtype, [&]<class From>(From) {
    if (b.outputs[0]->dtype == DType::boolean) return cast_step<From, uint8_t, true>(b);
    return with_type(b.outputs[0]->dtype, [&]<class To>(To) { return cast_step<From, To, false>(b); });
  });
}

constexpr Operator unary(const char* name, const char* attributes = "") {
  return {name, 1, 1, attributes, float_types, infer_same, build_unary, Fusion::elements};
}

constexpr Operator number(const char* name) { return {name, 1, 1, "", number_types, infer_same, build_number, Fusion::elements}; }

constexpr Operator binary(const char* name) {
  return {name, 2, 2, "", arithmetic_types, infer_broadcast, build_binary, Fusion::elements};
}

constexpr Operator compare(const char* name) {
  return {name, 2, 2, "", compare_types, infer_broadcast, build_compare};
}

constexpr Operator kOperators[] = {
    number("Abs"), unary("Ceil"), unary("Cos"), unary("Elu", " alpha "), unary("Erf"), unary("Exp"), unary("Floor"),
    unary("Gelu", " approximate "), unary("HardSigmoid", " alpha beta "), unary("HardSwish"),
    unary("LeakyRelu", " alpha "), unary("Log"), number("Neg"), unary("Reciprocal"), number("Relu"), unary("Round"),
    unary("Sigmoid"), number("Sign"), unary("Sin"), unary("Softplus"), unary("Sqrt"), unary("Tanh"),
    {"Clip", 1, 3, " max min ", number_types, infer_clip, build_number, Fusion::elements},
    binary("Add"), binary("Sub"), binary("Mul"), binary("Div"), binary("Pow"), binary("Max"), binary("Min"),
    {"PRelu", 2, 2, "", arithmetic_types, infer_prelu, build_binary, Fusion::elements},
    compare("Equal"), compare("Greater"), compare("GreaterOrEqual"), compare("Less"), compare("LessOrEqual"),
    {"And", 2, 2, "", logic_types, infer_broadcast, build_logic},
    {"Or", 2, 2, "", logic_types, infer_broadcast, build_logic},
    {"Xor", 2, 2, "", logic_types, infer_broadcast, build_logic},
    {"Not", 1, 1, "", logic_types, infer_same, build_logic},
    {"Where", 3, 3, "", where_types, infer_broadcast, build_where},
    {"Cast", 1, 1, " saturate to ", cast_types, infer_same, build_cast},
};

}  // namespace

std::span<const Operator> elementwise_operators() { return kOperators; }

}  // namespace gossamer
