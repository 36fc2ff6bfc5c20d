#include "runtime/integer_layers.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels/integer/fixed_point.h"
#include "kernels/integer/integer.h"
#include "runtime/op.h"

namespace gossamer {
namespace {

bool is_byte(DType type) { return type == DType::uint8 || type == DType::int8; }
DType type_of(const CellRewriter& r, int value) { return r.model().values[static_cast<size_t>(value)].dtype; }
int input_of(const Node& node, size_t i) { return node.has_input(i) ? node.inputs[i] : kAbsent; }

// The int32 numbers of a constant.
std::optional<std::vector<int32_t>> numbers(const CellRewriter& r, int value) {
  const Tensor* tensor = r.patterns.constant(value);
  if (!tensor || tensor->dtype != DType::int32) return std::nullopt;
  return std::vector<int32_t>(tensor->as<int32_t>(), tensor->as<int32_t>() + element_count(tensor->shape));
}

// A zero point: 0 where it is absent, nothing where it is no constant of one number.
std::optional<int64_t> point(const CellRewriter& r, int value) {
  if (value == kAbsent) return 0;
  const Tensor* tensor = r.patterns.constant(value);
  if (!tensor || element_count(tensor->shape) != 1) return std::nullopt;
  switch (tensor->dtype) {
    case DType::uint8: return *tensor->as<uint8_t>();
    case DType::int8: return *tensor->as<int8_t>();
    case DType::int32: return *tensor->as<int32_t>();
    default: return std::nullopt;
  }
}

// A Requantize whose parameters are constants.
struct Requantization {
  std::vector<int32_t> multipliers, shifts;
  int64_t x_zero = 0, zero = 0, low = 0, high = 0;
  DType to = DType::int32;

  bool is_one() const { return multipliers.size() == 1; }
  int32_t at(int64_t x, size_t channel = 0) const {
    return requantize(saturated_int32(x - x_zero), multipliers[channel], shifts[channel], static_cast<int32_t>(zero),
                      static_cast<int32_t>(low), static_cast<int32_t>(high));
  }
  // As a tensor of unsigned bytes.
  Quantization quantization() const { return {1, zero + sign(), to == DType::int8}; }
  int64_t sign() const { return to == DType::int8 ? 128 : 0; }
};

std::optional<Requantization> requantization(const CellRewriter& r, const Node& node) {
  const auto multipliers = numbers(r, input_of(node, 1)), shifts = numbers(r, input_of(node, 2));
  const auto zero = point(r, input_of(node, 3)), x_zero = point(r, input_of(node, 4));
  if (!multipliers || !shifts || !zero || !x_zero || multipliers->size() != shifts->size() || multipliers->empty()) return std::nullopt;
  for (const int32_t shift : *shifts) {
    if (shift < -31 || shift > 31) return std::nullopt;
  }
  Requantization q{*multipliers, *shifts, *x_zero, *zero, INT32_MIN, INT32_MAX, type_of(r, node.outputs[0])};
  if (q.to == DType::int16) return std::nullopt;
  if (q.to == DType::uint8) q.low = 0, q.high = 255;
  if (q.to == DType::int8) q.low = -128, q.high = 127;
  q.low = std::max(q.low, node.integer("low", q.low));
  q.high = std::min(q.high, node.integer("high", q.high));
  return q.low <= q.high ? std::optional(q) : std::nullopt;
}

// --- convolution -------------------------------------------------------------------------------------------------------

// The Requantize to bytes that alone reads a value, for each of `channels` in dimension 1 of `rank`.
std::optional<size_t> requantize_behind(const CellRewriter& r, int value, int64_t channels, int64_t rank) {
  const auto reader = r.patterns.only_reader(value);
  if (!reader) return std::nullopt;
  const Node& node = r.patterns.node(*reader);
  if (node.op != "gossamer::Requantize" || node.inputs[0] != value || !is_byte(type_of(r, node.outputs[0]))) return std::nullopt;
  const auto q = requantization(r, node);
  if (!q || q->x_zero != 0) return std::nullopt;
  const int64_t axis = node.integer("axis", 1);
  if (!q->is_one() && (static_cast<int64_t>(q->multipliers.size()) != channels || (axis != 1 && axis != 1 - rank))) return std::nullopt;
  return reader;
}

// The Add of one number for each channel, (channels, 1, ...) or (1, channels, 1, ...), that alone reads a value.
std::optional<size_t> bias_behind(const CellRewriter& r, int value, int64_t channels, size_t rank, std::vector<int32_t>& bias) {
  const auto reader = r.patterns.only_reader(value);
  if (!reader || r.patterns.node(*reader).op != "Add") return std::nullopt;
  const Node& node = r.patterns.node(*reader);
  const int other = node.inputs[node.inputs[0] == value ? 1 : 0];
  const auto given = other == value ? std::nullopt : numbers(r, other);
  if (!given) return std::nullopt;
  const Shape& shape = r.patterns.constant(other)->shape;
  if (shape.size() > rank || (given->size() != 1 && static_cast<int64_t>(given->size()) != channels)) return std::nullopt;
  if (given->size() != 1 && (shape.size() + 1 < rank || shape[shape.size() + 1 - rank] != channels)) return std::nullopt;
  bias.assign(static_cast<size_t>(channels), given->front());
  if (given->size() != 1) bias = *given;
  return reader;
}

// What the sums start from: bias - zero of x times the sum of the weights. Nothing where a sum could leave int32.
std::optional<std::vector<int32_t>> initial(const ByteWeights& w, int64_t x_zero, const std::vector<int32_t>& bias) {
  const auto depth = static_cast<double>(w.values.size()) / static_cast<double>(w.shape[0]);
  std::vector<int32_t> all;
  for (size_t o = 0; o < bias.size(); ++o) {
    const double start = bias[o] - static_cast<double>(x_zero) * w.sum(static_cast<int64_t>(o));
    if (!(std::abs(start) + depth * 255 * 128 < static_cast<double>(INT32_MAX))) return std::nullopt;
    all.push_back(static_cast<int32_t>(start));
  }
  return all;
}

std::vector<int32_t> for_each(const std::vector<int32_t>& values, int64_t channels) {
  return values.size() == 1 ? std::vector<int32_t>(static_cast<size_t>(channels), values[0]) : values;
}

// The quantization with which a tensor of bytes is brought into cells: its QuantizeLinear's, if one makes it.
Quantization given_quantization(const CellRewriter& r, int x) {
  const Node* maker = r.patterns.producer(x);
  const auto found = maker && maker->op == "QuantizeLinear" ? r.patterns.quantization(*maker) : std::nullopt;
  return found.value_or(Quantization{1, 0, type_of(r, x) == DType::int8});
}

// Emits `fused`, whose results are requantized with `factors` numbers, in the place of `result`.
void finish_with(CellRewriter& r, Node fused, const Requantization& q, int64_t factors, int result, int64_t channels, size_t rank) {
  fused.inputs.push_back(r.new_constant(fused.name + ".multiplier", DType::int32, {factors}, for_each(q.multipliers, factors)));
  fused.inputs.push_back(r.new_constant(fused.name + ".shift", DType::int32, {factors}, for_each(q.shifts, factors)));
  fused.attributes["zero"] = q.zero + q.sign();
  fused.attributes["low"] = q.low + q.sign();
  fused.attributes["high"] = q.high + q.sign();
  r.define(result, q.quantization(), channels, rank, std::move(fused));
}

bool convolution(CellRewriter& r, const Node& node) {
  const int x = node.inputs[0];
  const auto w = r.patterns.integer_weights(node.inputs[1], input_of(node, 3));
  const auto x_zero = point(r, input_of(node, 2));
  if (!w || !x_zero || w->shape.size() < 3 || w->shape.size() > 4 || r.patterns.constant(x)) return false;
  const int64_t groups = node.integer("group", 1), rows = w->shape[0], zero = *x_zero + (type_of(r, x) == DType::int8 ? 128 : 0);
  if (groups < 1 || rows % groups) return false;
  int value = node.outputs[0];
  std::vector<int32_t> bias(static_cast<size_t>(rows), 0);
  const auto sum = bias_behind(r, value, rows, w->shape.size(), bias);
  const auto start = initial(*w, zero, bias);
  if (!start) return false;
  if (sum) value = r.patterns.node(*sum).outputs[0];
  const auto last = requantize_behind(r, value, rows, static_cast<int64_t>(w->shape.size()));

  Node fused{"gossamer.ConvInteger", node.name, {}, {}, {{"x_zero", zero}}, 0};
  for (const char* name : {"strides", "pads", "dilations", "group", "auto_pad"}) {
    if (const Attribute* attribute = node.find(name)) fused.attributes[name] = *attribute;
  }
  fused.inputs = {r.cells(x, given_quantization(r, x), w->shape[1] * groups, w->shape.size()),
                  r.new_constant(r.name_of(node.inputs[1]), DType::int8, w->shape, w->values),
                  r.new_constant(node.name + ".initial", DType::int32, {rows}, *start)};
  if (sum) r.absorb({*sum});
  if (!last) {
    fused.outputs = {value};
    r.emit(std::move(fused));
    return true;
  }
  r.absorb({*last});
  const Node& requantize = r.patterns.node(*last);
  finish_with(r, std::move(fused), *requantization(r, requantize), rows, requantize.outputs[0], rows, w->shape.size());
  return true;
}

// --- bytes alone ---------------------------------------------------------------------------------------------------------

// A tensor in cells as a Requantize with one multiplier sees it: what each byte becomes.
struct Looked {
  InCells in_cells;
  std::vector<int32_t> table;
};

std::optional<Looked> looked_up(const CellRewriter& r, const Node& node) {
  const int x = node.inputs[0];
  const auto at = r.in_cells(x);
  const auto q = at && is_byte(type_of(r, x)) ? requantization(r, node) : std::nullopt;
  if (!q || !q->is_one()) return std::nullopt;
  const int64_t sign = type_of(r, x) == DType::int8 ? 128 : 0;
  Looked found{*at, {}};
  for (int64_t byte = 0; byte < 256; ++byte) found.table.push_back(q->at(byte - sign));
  return found;
}

bool lookup(CellRewriter& r, const Node& node) {
  const auto x = looked_up(r, node);
  const auto q = x ? requantization(r, node) : std::nullopt;
  if (!q || !is_byte(q->to)) return false;
  std::vector<uint8_t> table;
  for (const int32_t value : x->table) table.push_back(static_cast<uint8_t>(value + q->sign()));
  Node step{"gossamer.Lookup", node.name, {x->in_cells.value, r.new_constant(node.name + ".table", DType::uint8, {256}, table)}, {}, {}, 0};
  r.define(node.outputs[0], q->quantization(), x->in_cells.channels, x->in_cells.rank, std::move(step));
  return true;
}

// One side of a residual sum: bytes in cells that nothing but a Requantize to int32 lies behind.
std::optional<Looked> side(const CellRewriter& r, int value) {
  const Node* node = r.patterns.producer(value);
  if (!node || node->op != "gossamer::Requantize" || type_of(r, value) != DType::int32) return std::nullopt;
  return looked_up(r, *node);
}

bool residual_sum(CellRewriter& r, const Node& node) {
  const Node* add = r.patterns.producer(node.inputs[0]);
  const auto q = add && add->op == "Add" ? requantization(r, node) : std::nullopt;
  if (!q || !q->is_one() || q->x_zero != 0 || !is_byte(q->to)) return false;
  const auto a = side(r, add->inputs[0]), b = side(r, add->inputs[1]);
  if (!a || !b || a->in_cells.channels != b->in_cells.channels || a->in_cells.rank != b->in_cells.rank) return false;
  Node sum{"gossamer.AddInteger", node.name, {a->in_cells.value, b->in_cells.value}, {}, {}, 0};
  sum.inputs.push_back(r.new_constant(node.name + ".a", DType::int32, {256}, a->table));
  sum.inputs.push_back(r.new_constant(node.name + ".b", DType::int32, {256}, b->table));
  finish_with(r, std::move(sum), *q, 1, node.outputs[0], a->in_cells.channels, a->in_cells.rank);
  return true;
}

bool max_pool(CellRewriter& r, const Node& node) {
  const auto at = r.in_cells(node.inputs[0]);
  if (!at || !is_byte(type_of(r, node.inputs[0])) || node.outputs.size() > 1) return false;
  const Quantization same{1, 0, type_of(r, node.inputs[0]) == DType::int8};
  r.define(node.outputs[0], same, at->channels, at->rank, {"gossamer.MaxPool", node.name, {at->value}, {}, node.attributes, 0});
  return true;
}

}  // namespace

bool rewrite_integer_layer(CellRewriter& r, const Node& node) {
  if (node.op == "ConvInteger") return convolution(r, node);
  if (node.op == "gossamer::Requantize") return residual_sum(r, node) || lookup(r, node);
  return node.op == "MaxPool" && max_pool(r, node);
}

}  // namespace gossamer
