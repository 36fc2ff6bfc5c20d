// What stands between the products of a quantized network, on tensors in cells.
#include <cmath>

#include "kernels/cell_maps/cell_maps.h"
#include "runtime/quantized_cells.h"

namespace gossamer {
namespace {

Node cell_node(const char* op, const Node& node, std::vector<int> inputs, std::map<std::string, Attribute, std::less<>> attributes) {
  return {op, node.name, std::move(inputs), {}, std::move(attributes), 0};
}

void finish_as(const Tail& tail, Node& node) {
  node.attributes["zero"] = tail.quantization->zero;
  node.attributes["low"] = tail.low;
  node.attributes["high"] = tail.high;
}

// --- two tensors -----------------------------------------------------------------------------------------------------

struct Pair {
  CellTensor a, b;
  Tail tail;
};

std::optional<Pair> pair_of(const CellRewriter& r, const Node& node) {
  const auto a = r.cell_tensor(node.inputs[0]), b = r.cell_tensor(node.inputs[1]);
  if (!a || !b || a->in_cells.channels != b->in_cells.channels || a->in_cells.rank != b->in_cells.rank) return std::nullopt;
  const Tail tail = r.patterns.tail(node.outputs[0]);
  return tail.quantization ? std::optional(Pair{*a, *b, tail}) : std::nullopt;
}

// Whether the convolution that makes q can add to it: nothing else needs q.
bool absorbs_sum(const CellRewriter& r, const CellTensor& q) {
  const Node& node = r.made(q.in_cells.node);
  return node.op == "gossamer.Conv" && node.inputs.size() == 5 && r.patterns.uses(q.value) == 1 && r.patterns.uses(q.dequantized) == 1;
}

void add_to_conv(CellRewriter& r, const CellTensor& sum, const CellTensor& other, const Tail& tail) {
  Node fused = r.made(sum.in_cells.node);
  r.erase(sum.in_cells.node);
  r.erase(sum.in_cells.node + 1);  // its ToBytes
  const Quantization& to = *tail.quantization;
  const float residual = other.scale / to.scale;
  // m stands for round(t) + zero of the tensor in between, so its limits lose that zero.
  fused.attributes["rounds_mid"] = int64_t{1};
  fused.attributes["mid_low"] = fused.real("low", 0) - static_cast<float>(sum.zero);
  fused.attributes["mid_high"] = fused.real("high", 255) - static_cast<float>(sum.zero);
  fused.attributes["mid_zero"] = sum.zero;
  fused.attributes["keep"] = sum.scale / to.scale;
  fused.attributes["residual_scale"] = residual;
  fused.attributes["residual_shift"] = -static_cast<float>(other.zero) * residual;
  finish_as(tail, fused);
  fused.inputs.push_back(other.in_cells.value);
  r.define(tail.value, to, sum.in_cells.channels, sum.in_cells.rank, std::move(fused));
}

void add_cells(CellRewriter& r, const Node& node, const Pair& pair) {
  const CellTensor &a = pair.a, &b = pair.b;
  const float a_scale = a.scale / pair.tail.quantization->scale, b_scale = b.scale / pair.tail.quantization->scale;
  const float shift = -(static_cast<float>(a.zero) * a_scale + static_cast<float>(b.zero) * b_scale);
  Node sum = cell_node("gossamer.Add", node, {a.in_cells.value, b.in_cells.value}, {{"a_scale", a_scale}, {"b_scale", b_scale}, {"shift", shift}});
  finish_as(pair.tail, sum);
  r.define(pair.tail.value, *pair.tail.quantization, a.in_cells.channels, a.in_cells.rank, std::move(sum));
}

bool add(CellRewriter& r, const Node& node) {
  const auto pair = pair_of(r, node);
  if (!pair) return false;
  const CellTensor &a = pair->a, &b = pair->b;
  r.absorb(pair->tail.nodes);
  const bool apart = a.value != b.value, a_fits = apart && absorbs_sum(r, a), b_fits = apart && absorbs_sum(r, b);
  // The later one of the two, for the other must be there when it runs.
  if (a_fits && (!b_fits || a.in_cells.node > b.in_cells.node)) add_to_conv(r, a, b, pair->tail);
  else if (b_fits) add_to_conv(r, b, a, pair->tail);
  else add_cells(r, node, *pair);
  return true;
}

bool multiply(CellRewriter& r, const Node& node) {
  const auto pair = pair_of(r, node);
  if (!pair) return false;
  const CellTensor &a = pair->a, &b = pair->b;
  const float scale = a.scale * b.scale / pair->tail.quantization->scale;
  Node result = cell_node("gossamer.Multiply", node, {a.in_cells.value, b.in_cells.value},
                          {{"a_zero", static_cast<float>(a.zero)}, {"b_zero", static_cast<float>(b.zero)}, {"scale", scale}});
  finish_as(pair->tail, result);
  r.absorb(pair->tail.nodes);
  r.define(pair->tail.value, *pair->tail.quantization, a.in_cells.channels, a.in_cells.rank, std::move(result));
  return true;
}

// --- tables ----------------------------------------------------------------------------------------------------------

// The bytes of the tail's quantization that bytes of `from` become.
std::vector<uint8_t> requantized(const Quantization& from, const Tail& tail) {
  const Quantization& to = *tail.quantization;
  std::vector<uint8_t> table;
  for (int i = 0; i < 256; ++i) {
    const float x = static_cast<float>(i - from.zero) * from.scale;
    const float steps = std::nearbyint(x / to.scale) + static_cast<float>(to.zero);
    table.push_back(static_cast<uint8_t>(std::min(std::max(steps, tail.low), tail.high)));
  }
  return table;
}

Node lookup_node(CellRewriter& r, const Node& node, int cells, const std::vector<uint8_t>& table) {
  return cell_node("gossamer.Lookup", node, {cells, r.new_constant(node.name + ".table", DType::uint8, {256}, table)}, {});
}

bool is_identity(const Quantization& from, const Tail& tail) { return tail.only_quantizes && from.same_as(*tail.quantization); }

// A value in cells as the tail wants it.
int requantize(CellRewriter& r, const Node& node, const Quantization& from, int cells, const Tail& tail) {
  if (is_identity(from, tail)) return cells;
  Node step = lookup_node(r, node, cells, requantized(from, tail));
  const int value = r.new_cells(r.name_of(cells));
  step.outputs = {value};
  r.emit(std::move(step));
  return value;
}

// A function of one element between two quantized tensors is a table of 256 bytes.
bool lookup(CellRewriter& r, const Node& node) {
  const auto input = r.patterns.mapped_input(node, 3);
  const auto x = input ? r.cell_tensor(node.inputs[*input]) : std::nullopt;
  if (!x) return false;
  const Tail tail = r.patterns.tail(node.outputs[0]);
  if (!tail.quantization) return false;
  const auto table = r.patterns.table(node, *input, *x, tail, r.isa);
  r.absorb(tail.nodes);
  r.define(tail.value, *tail.quantization, x->in_cells.channels, x->in_cells.rank, lookup_node(r, node, x->in_cells.value, table));
  return true;
}

// A table of bytes seen as unsigned ones, for bytes as they are in tensors that are no cells.
std::vector<uint8_t> in_own_sign(const std::vector<uint8_t>& table, const Quantization& from, const Quantization& to) {
  std::vector<uint8_t> own(256);
  for (size_t i = 0; i < 256; ++i) own[i] = static_cast<uint8_t>(table[i ^ (from.is_signed ? 128u : 0u)] ^ (to.is_signed ? 128u : 0u));
  return own;
}

// The same between tensors that are no cells.
bool lookup_bytes(CellRewriter& r, const Node& node) {
  const auto input = r.patterns.mapped_input(node, 0);
  const auto x = input ? r.patterns.quantized(node.inputs[*input]) : std::nullopt;
  if (!x) return false;
  const Tail tail = r.patterns.tail(node.outputs[0]);
  if (!tail.quantization) return false;
  const auto table = r.patterns.table(node, *input, *x, tail, r.isa);
  Node step = lookup_node(r, node, x->value, in_own_sign(table, *x, *tail.quantization));
  step.attributes["signed"] = int64_t{tail.quantization->is_signed};
  step.outputs = {tail.value};
  r.absorb(tail.nodes);
  r.emit(std::move(step));
  return true;
}

// From one quantization to another without anything between them.
bool requantize_bytes(CellRewriter& r, const Node& node) {
  const auto to = r.patterns.quantization(node);
  const auto x = to ? r.patterns.quantized(node.inputs[0]) : std::nullopt;
  if (!x || r.in_cells(x->value)) return false;
  Tail tail;
  tail.quantization = to;
  tail.low = 0;
  tail.high = 255;
  Node step = lookup_node(r, node, x->value, in_own_sign(requantized(*x, tail), *x, *to));
  step.attributes["signed"] = int64_t{to->is_signed};
  step.outputs = node.outputs;
  r.emit(std::move(step));
  return true;
}

// --- windows and means -----------------------------------------------------------------------------------------------

bool max_pool(CellRewriter& r, const Node& node) {
  const auto x = r.cell_tensor(node.inputs[0]);
  if (!x || node.outputs.size() > 1) return false;
  const Tail tail = r.patterns.tail(node.outputs[0]);
  if (!tail.quantization) return false;
  // The greatest byte stands for the greatest number; what it becomes is looked up afterwards.
  Node pool = cell_node("gossamer.MaxPool", node, {x->in_cells.value}, node.attributes);
  r.absorb(tail.nodes);
  if (!is_identity(*x, tail)) {
    const int greatest = r.new_cells(node.name);
    pool.outputs = {greatest};
    r.emit(std::move(pool));
    pool = lookup_node(r, node, greatest, requantized(*x, tail));
  }
  r.define(tail.value, *tail.quantization, x->in_cells.channels, x->in_cells.rank, std::move(pool));
  return true;
}

bool average_pool(CellRewriter& r, const Node& node) {
  const auto x = r.cell_tensor(node.inputs[0]);
  const Tail tail = r.patterns.tail(node.outputs[0]);
  const bool counts = node.integer("count_include_pad", 0) != 0;
  if (!x || !tail.quantization || (counts && (node.integer("ceil_mode", 0) || node.text("auto_pad", "NOTSET") != "NOTSET"))) return false;
  int64_t window = 1;
  for (const int64_t size : node.integers("kernel_shape")) window = size < 1 || size > kMostAveraged ? kMostAveraged + 1 : window * size;
  if (window > kMostAveraged) return false;
  const float scale = x->scale / tail.quantization->scale;
  Node pool = cell_node("gossamer.AveragePool", node, {x->in_cells.value}, node.attributes);
  pool.attributes["scale"] = scale;
  pool.attributes["shift"] = -static_cast<float>(x->zero) * scale;
  pool.attributes["x_zero"] = x->zero;
  finish_as(tail, pool);
  r.absorb(tail.nodes);
  r.define(tail.value, *tail.quantization, x->in_cells.channels, x->in_cells.rank, std::move(pool));
  return true;
}

bool mean(CellRewriter& r, const Node& node) {
  const auto x = r.cell_tensor(node.inputs[0]);
  if (!x || !r.patterns.means_all_pixels(node, x->in_cells.rank)) return false;
  const int64_t keeps = node.op == "ReduceMean" ? node.integer("keepdims", 1) : 1;
  Node means = cell_node("gossamer.Mean", node, {x->in_cells.value},
                         {{"channels", x->in_cells.channels}, {"scale", x->scale}, {"zero", x->zero}, {"keepdims", keeps}});
  const Tail tail = r.patterns.tail(node.outputs[0]);
  if (!keeps || !tail.quantization || !tail.only_quantizes) {
    means.attributes["float_out"] = int64_t{1};
    means.outputs = node.outputs;
    r.emit(std::move(means));
    return true;
  }
  means.attributes["y_scale"] = tail.quantization->scale;
  means.attributes["y_zero"] = tail.quantization->zero;
  r.absorb(tail.nodes);
  r.define(tail.value, *tail.quantization, x->in_cells.channels, x->in_cells.rank, std::move(means));
  return true;
}

// --- moving bytes ----------------------------------------------------------------------------------------------------

bool concat(CellRewriter& r, const Node& node) {
  const Tail tail = r.patterns.tail(node.outputs[0]);
  if (node.integer("axis", 0) != 1 || !tail.quantization) return false;
  std::vector<CellTensor> parts;
  for (const int value : node.inputs) {
    const auto part = r.cell_tensor(value);
    if (!part || (!parts.empty() && part->in_cells.rank != parts[0].in_cells.rank)) return false;
    parts.push_back(*part);
  }
  std::vector<int64_t> channels;
  int64_t all = 0;
  Node joined = cell_node("gossamer.Concat", node, {}, {});
  for (const CellTensor& part : parts) {
    joined.inputs.push_back(requantize(r, node, part, part.in_cells.value, tail));
    channels.push_back(part.in_cells.channels);
    all += part.in_cells.channels;
  }
  joined.attributes["channels"] = channels;
  r.absorb(tail.nodes);
  r.define(tail.value, *tail.quantization, all, parts[0].in_cells.rank, std::move(joined));
  return true;
}

// Zeros around the pixels of a quantized tensor, which a convolution pads with itself.
void note_padding(CellRewriter& r, const Node& node) {
  const auto x = r.patterns.quantized(node.inputs[0]);
  const Tail tail = r.patterns.tail(node.outputs[0]);
  const auto pads = r.patterns.spatial_zeros(node);
  if (x && pads && tail.quantization && is_identity(*x, tail)) r.note_padded(tail.value, {*x, *pads});
}

// An operator that moves elements between two tensors of the same quantization moves bytes instead.
bool move(CellRewriter& r, const Node& node) {
  if (!Patterns::moves_elements(node)) return false;
  const auto x = r.patterns.quantized(node.inputs[0]);
  const Tail tail = r.patterns.tail(node.outputs[0]);
  if (!x || !tail.quantization || !is_identity(*x, tail)) return false;
  Node moved = node;
  moved.inputs[0] = x->value;
  if (!r.patterns.takes(moved, x->is_signed ? DType::int8 : DType::uint8)) return false;
  moved.outputs = {tail.value};
  r.absorb(tail.nodes);
  r.emit(std::move(moved));
  return true;
}

}  // namespace

bool rewrite_map(CellRewriter& r, const Node& node) {
  if (node.op == "Add" && add(r, node)) return true;
  if (node.op == "Mul" && multiply(r, node)) return true;
  if (node.op == "MaxPool") return max_pool(r, node);
  if (node.op == "AveragePool") return average_pool(r, node);
  if (node.op == "ReduceMean" || node.op == "GlobalAveragePool") return mean(r, node);
  if (node.op == "Concat") return concat(r, node);
  if (node.op == "Pad") note_padding(r, node);
  if (node.op == "QuantizeLinear") return requantize_bytes(r, node);
  return move(r, node) || lookup(r, node) || lookup_bytes(r, node);
}

}  // namespace gossamer
