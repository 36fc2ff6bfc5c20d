// Functions of one, two or three elements with broadcasting; casts, comparisons and logic.
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/elementwise/elementwise.h"
#include "runtime/errors.h"
#include "runtime/op.h"
#include "runtime/strided.h"
#include "runtime/types.h"

namespace gossamer {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int64_t kWorthSharing = 65536;  // elements; below, waking a thread costs more than it brings

void infer_same(Inference& n) { n.outputs = {n.shape(0)}; }

void infer_broadcast(Inference& n) {
  Shape shape = n.shape(0);
  for (size_t i = 1; i < n.inputs.size(); ++i) shape = broadcast(shape, n.shape(i), n.node);
  n.outputs = {shape};
}

// --- one element ---------------------------------------------------------------------------------------------------------

struct UnaryRow {
  const char* op;
  Unary function;
};
constexpr UnaryRow kUnaryRows[] = {
    {"Abs", Unary::abs}, {"Ceil", Unary::ceil}, {"Clip", Unary::clip}, {"Cos", Unary::cos}, {"Elu", Unary::elu},
    {"Erf", Unary::erf}, {"Exp", Unary::exp}, {"Floor", Unary::floor}, {"Gelu", Unary::gelu},
    {"HardSigmoid", Unary::hard_sigmoid}, {"HardSwish", Unary::hard_swish}, {"LeakyRelu", Unary::leaky_relu},
    {"Log", Unary::log}, {"Neg", Unary::neg}, {"Reciprocal", Unary::reciprocal}, {"Relu", Unary::clip},
    {"Round", Unary::round}, {"Sigmoid", Unary::sigmoid}, {"Sign", Unary::sign}, {"Sin", Unary::sin},
    {"Softplus", Unary::softplus}, {"Sqrt", Unary::sqrt}, {"Tanh", Unary::tanh},
};

// The function's parameters a and b, as kernels/elementwise/elementwise.h has them.
void read_parameters(const Build& b, UnaryArgs& u) {
  const Node& node = b.node;
  if (node.op == "Relu") u.b = kInfinity;
  if (node.op == "LeakyRelu") u.a = node.real("alpha", 0.01f);
  if (node.op == "Elu") u.a = node.real("alpha", 1.0f);
  if (node.op == "HardSigmoid") {
    u.a = node.real("alpha", 0.2f);
    u.b = node.real("beta", 0.5f);
  }
  if (node.op == "Gelu" && node.text("approximate", "none") == "tanh") u.op = Unary::gelu_tanh;
  if (node.op != "Clip") return;
  u.a = node.real("min", -kInfinity);
  u.b = node.real("max", kInfinity);
  for (size_t i = 1; i < 3; ++i) {
    if (!b.has(i)) continue;
    const float* bound = b.known_floats(i);
    if (!bound) throw Unsupported(node.label() + ": bounds that are computed at run time; make them constants");
    (i == 1 ? u.a : u.b) = *bound;
  }
}

Unary function_of(const Node& node) {
  for (const UnaryRow& row : kUnaryRows) {
    if (node.op == row.op) return row.function;
  }
  throw Unsupported(node.label());
}

Step build_unary(Build& b) {
  UnaryArgs fixed{function_of(b.node)};
  read_parameters(b, fixed);
  fixed.n = element_count(b.out_shape());
  b.in_place.push_back(b.node.inputs[0]);
  const auto& kernel = fastest(kUnaryKernels, b.isa);
  const bool scalar = fixed.op >= kFirstScalarUnary;
  return {[=, x = b.in(0), y = b.out(), run_all = kernel.run](const Run& run) {
            const auto part = [&](int64_t begin, int64_t end, int) {
              UnaryArgs u = fixed;
              u.n = end - begin;
              u.x = run.at<float>(x) + begin;
              u.y = run.at<float>(y) + begin;
              run_all(u);
            };
            if (fixed.n < kWorthSharing) part(0, fixed.n, 0);
            else run.pool->share(fixed.n, part);
          },
          kernel.name, scalar ? "one element at a time, through the C library" : ""};
}

// --- two elements --------------------------------------------------------------------------------------------------------

struct BinaryRow {
  const char* op;
  Binary function;
};
constexpr BinaryRow kBinaryRows[] = {{"Add", Binary::add}, {"Sub", Binary::sub}, {"Mul", Binary::mul},
                                     {"Div", Binary::div}, {"Pow", Binary::pow}, {"Max", Binary::max},
                                     {"Min", Binary::min}};

Binary binary_of(const Node& node) {
  for (const BinaryRow& row : kBinaryRows) {
    if (node.op == row.op) return row.function;
  }
  throw Unsupported(node.label());
}

// Both inputs of one arithmetic type.
std::vector<DType> arithmetic_types(const Node& node, const Types& inputs) {
  if (inputs.size() != 2) {
    throw Unsupported(node.label() + ": " + std::to_string(inputs.size()) + " inputs; write it with two at a time");
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    const DType type = *inputs[i];
    if (type != DType::float32 && type != DType::int64 && type != DType::int32) {
      reject_type(node, i, type, "float32, int64 and int32");
    }
    if (type != *inputs[0]) reject_type(node, i, type, std::string(dtype_name(*inputs[0])) + ", as the first input");
  }
  return {*inputs[0]};
}

Walk broadcast_walk(const Build& b) {
  const Shape& out = b.out_shape();
  return make_walk(out, row_major(out), broadcast_strides(b.shape(0), out),
                   broadcast_strides(b.shape(b.inputs.size() > 1 ? 1 : 0), out));
}

Step build_float_binary(Build& b) {
  const Walk walk = broadcast_walk(b);
  BinaryArgs fixed{binary_of(b.node)};
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
  if (exponent < 0) return base == 1 ? T{1} : base == -1 ? (exponent % 2 ? T{-1} : T{1}) : T{0};
  using Bits = std::make_unsigned_t<T>;
  Bits result = 1, square = static_cast<Bits>(base);
  for (auto left = static_cast<Bits>(exponent); left; left >>= 1) {
    if (left & 1) result *= square;
    square *= square;
  }
  return static_cast<T>(result);
}

// Integer arithmetic wraps around, as NumPy's does; division truncates, and by zero gives zero.
template <class T>
T whole(Binary op, T a, T b) {
  using Bits = std::make_unsigned_t<T>;
  const Bits x = static_cast<Bits>(a), y = static_cast<Bits>(b);
  switch (op) {
    case Binary::add: return static_cast<T>(x + y);
    case Binary::sub: return static_cast<T>(x - y);
    case Binary::mul: return static_cast<T>(x * y);
    case Binary::div: return b == 0 ? T{0} : b == -1 ? static_cast<T>(Bits{0} - x) : a / b;
    case Binary::max: return a > b ? a : b;
    case Binary::min: return a < b ? a : b;
    case Binary::pow: return whole_power(a, b);
  }
  return 0;
}

// out[i] = f(a[i], b[i]) with broadcasting, for any types.
template <class In, class Out, class Function>
Step zip_step(Build& b, const Function& f) {
  const Walk walk = broadcast_walk(b);
  const size_t second = b.inputs.size() > 1 ? 1 : 0;
  return {[=, x = b.in(0), y = b.in(second), out = b.out()](const Run& run) {
            const In *left = run.at<In>(x), *right = run.at<In>(y);
            Out* to = run.at<Out>(out);
            walk.each_run([&](int64_t o, int64_t l, int64_t r) {
              for (int64_t i = 0; i < walk.inner(); ++i) {
                to[o + i * walk.inner_stride(0)] =
                    f(left[l + i * walk.inner_stride(1)], right[r + i * walk.inner_stride(2)]);
              }
            });
          },
          "plain loop", ""};
}

Step build_binary(Build& b) {
  const DType type = b.inputs[0]->dtype;
  if (type == DType::float32) return build_float_binary(b);
  const Binary op = binary_of(b.node);
  if (type == DType::int64) return zip_step<int64_t, int64_t>(b, [op](int64_t x, int64_t y) { return whole(op, x, y); });
  return zip_step<int32_t, int32_t>(b, [op](int32_t x, int32_t y) { return whole(op, x, y); });
}

// --- comparisons, logic, choice ------------------------------------------------------------------------------------------

std::vector<DType> compare_types(const Node& node, const Types& inputs) {
  if (inputs[0] != inputs[1]) reject_type(node, 1, *inputs[1], std::string(dtype_name(*inputs[0])) + ", as the first input");
  return {DType::boolean};
}

template <class T>
Step compare_step(Build& b) {
  const std::string& op = b.node.op;
  if (op == "Equal") return zip_step<T, uint8_t>(b, [](T x, T y) { return x == y; });
  if (op == "Greater") return zip_step<T, uint8_t>(b, [](T x, T y) { return x > y; });
  if (op == "GreaterOrEqual") return zip_step<T, uint8_t>(b, [](T x, T y) { return x >= y; });
  if (op == "Less") return zip_step<T, uint8_t>(b, [](T x, T y) { return x < y; });
  return zip_step<T, uint8_t>(b, [](T x, T y) { return x <= y; });
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
  if (op == "And") return zip_step<uint8_t, uint8_t>(b, [](uint8_t x, uint8_t y) { return x && y; });
  if (op == "Or") return zip_step<uint8_t, uint8_t>(b, [](uint8_t x, uint8_t y) { return x || y; });
  if (op == "Xor") return zip_step<uint8_t, uint8_t>(b, [](uint8_t x, uint8_t y) { return !x != !y; });
  return zip_step<uint8_t, uint8_t>(b, [](uint8_t x, uint8_t) { return !x; });
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

template <class From, class To, bool kToBool>
Step cast_step(Build& b) {
  const int64_t n = element_count(b.out_shape());
  return {[=, x = b.in(0), y = b.out()](const Run& run) {
            const From* from = run.at<From>(x);
            To* to = run.at<To>(y);
            for (int64_t i = 0; i < n; ++i) to[i] = kToBool ? static_cast<To>(from[i] != 0) : converted<To>(from[i]);
          },
          "plain loop", ""};
}

Step build_cast(Build& b) {
  return with_type(b.inputs[0]->dtype, [&]<class From>(From) {
    if (b.outputs[0]->dtype == DType::boolean) return cast_step<From, uint8_t, true>(b);
    return with_type(b.outputs[0]->dtype, [&]<class To>(To) { return cast_step<From, To, false>(b); });
  });
}

constexpr Operator unary(const char* name, const char* attributes = "", Fusion fusion = Fusion::none) {
  return {name, 1, 1, attributes, float_types, infer_same, build_unary, fusion};
}

constexpr Operator binary(const char* name, Fusion fusion = Fusion::none) {
  return {name, 2, 2, "", arithmetic_types, infer_broadcast, build_binary, fusion};
}

constexpr Operator compare(const char* name) {
  return {name, 2, 2, "", compare_types, infer_broadcast, build_compare};
}

constexpr Operator kOperators[] = {
    unary("Abs"), unary("Ceil"), unary("Cos"), unary("Elu", " alpha "), unary("Erf"), unary("Exp"), unary("Floor"),
    unary("Gelu", " approximate "), unary("HardSigmoid", " alpha beta "), unary("HardSwish"),
    unary("LeakyRelu", " alpha "), unary("Log"), unary("Neg"), unary("Reciprocal"), unary("Relu"), unary("Round"),
    unary("Sigmoid"), unary("Sign"), unary("Sin"), unary("Softplus"), unary("Sqrt"), unary("Tanh"),
    {"Clip", 1, 3, " max min ", float_types, infer_same, build_unary},
    binary("Add", Fusion::clamp), binary("Sub", Fusion::clamp), binary("Mul", Fusion::clamp),
    binary("Div", Fusion::clamp), binary("Pow"),
    {"Max", 1, -1, "", arithmetic_types, infer_broadcast, build_binary},
    {"Min", 1, -1, "", arithmetic_types, infer_broadcast, build_binary},
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
