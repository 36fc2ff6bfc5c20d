#include "runtime/element_functions.h"

#include <limits>

namespace gossamer {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

template <class Function>
struct FunctionRow {
  const char* op;
  Function function;
};

constexpr FunctionRow<Unary> kUnaryRows[] = {
    {"Abs", Unary::abs}, {"Ceil", Unary::ceil}, {"Clip", Unary::clip}, {"Cos", Unary::cos}, {"Elu", Unary::elu},
    {"Erf", Unary::erf}, {"Exp", Unary::exp}, {"Floor", Unary::floor}, {"Gelu", Unary::gelu},
    {"HardSigmoid", Unary::hard_sigmoid}, {"HardSwish", Unary::hard_swish}, {"LeakyRelu", Unary::leaky_relu},
    {"Log", Unary::log}, {"Neg", Unary::neg}, {"Reciprocal", Unary::reciprocal}, {"Relu", Unary::clip},
    {"Round", Unary::round}, {"Sigmoid", Unary::sigmoid}, {"Sign", Unary::sign}, {"Sin", Unary::sin},
    {"Softplus", Unary::softplus}, {"Sqrt", Unary::sqrt}, {"Tanh", Unary::tanh},
};

constexpr FunctionRow<Binary> kBinaryRows[] = {
    {"Add", Binary::add}, {"Sub", Binary::sub}, {"Mul", Binary::mul}, {"Div", Binary::div},
    {"Pow", Binary::pow}, {"Max", Binary::max}, {"Min", Binary::min}, {"PRelu", Binary::prelu},
};

template <class Function, size_t kCount>
std::optional<Function> find(const FunctionRow<Function> (&rows)[kCount], const Node& node) {
  for (const FunctionRow<Function>& row : rows) {
    if (node.op == row.op) return row.function;
  }
  return std::nullopt;
}

}  // namespace

std::optional<Unary> unary_of(const Node& node) { return find(kUnaryRows, node); }

std::optional<Binary> binary_of(const Node& node) { return find(kBinaryRows, node); }

UnaryArgs unary_args(const Node& node, Unary function) {
  UnaryArgs u{function};
  if (node.op == "Relu") u.b = kInfinity;
  if (node.op == "LeakyRelu") u.a = node.real("alpha", 0.01f);
  if (node.op == "Elu") u.a = node.real("alpha", 1.0f);
  if (node.op == "HardSigmoid") {
    u.a = node.real("alpha", 0.2f);
    u.b = node.real("beta", 0.5f);
  }
  if (node.op == "Gelu" && node.text("approximate", "none") == "tanh") u.op = Unary::gelu_tanh;
  if (node.op != "Clip") return u;
  u.a = node.real("min", -kInfinity);
  u.b = node.real("max", kInfinity);
  return u;
}

}  // namespace gossamer
