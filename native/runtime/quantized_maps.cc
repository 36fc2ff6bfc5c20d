// What stands between the products of a quantized network, on tensors in cells.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/cell_maps/cell_maps.h"
#include "runtime/channel_ranges.h"
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

// Whether the axis of a Concat or Split is that of the channels.
bool along_channels(const Node& node, const CellTensor& x) {
  const int64_t axis = node.integer("axis", 0);
  return axis == 1 || axis == 1 - static_cast<int64_t>(x.in_cells.rank);
}

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

// --- channels --------------------------------------------------------------------------------------------------------

bool concat(CellRewriter& r, const Node& node) {
  const Tail tail = r.patterns.tail(node.outputs[0]);
  if (!tail.quantization) return false;
  std::vector<CellTensor> parts;
  for (const int value : node.inputs) {
    const auto part = r.cell_tensor(value);
    if (!part || (!parts.empty() && part->in_cells.rank != parts[0].in_cells.rank)) return false;
    parts.push_back(*part);
  }
  if (!along_channels(node, parts[0])) return false;
  std::vector<ChannelRange> ranges;
  Node joined = cell_node("gossamer.Channels", node, {}, {});
  for (const CellTensor& part : parts) {
    ranges.push_back({joined.inputs.size(), 0, part.in_cells.channels});
    joined.inputs.push_back(requantize(r, node, part, part.in_cells.value, tail));
  }
  joined.attributes["ranges"] = to_attribute(ranges);
  r.absorb(tail.nodes);
  r.define(tail.value, *tail.quantization, channel_count(ranges), parts[0].in_cells.rank, std::move(joined));
  return true;
}

// `step` takes channels of what `maker` makes: where that takes channels itself, of what that reads.
void look_through(const Node& maker, Node& step) {
  if (maker.op != "gossamer.Channels") return;
  std::vector<ChannelRange> ranges;
  for (const ChannelRange& wanted : channel_ranges(step)) {
    int64_t begin = 0;  // of a range of the maker's, among its results
    for (const ChannelRange& range : channel_ranges(maker)) {
      const int64_t first = std::max(wanted.begin, begin), last = std::min(wanted.begin + wanted.count, begin + range.count);
      if (first < last) ranges.push_back({range.input, range.begin + first - begin, last - first});
      begin += range.count;
    }
  }
  step.inputs = maker.inputs;
  step.attributes["ranges"] = to_attribute(ranges);
  if (step.integers("spatial").empty()) step.attributes["spatial"] = maker.integers("spatial");
}

// What makes bytes of `value`, which consists of x; where it is bytes already, nothing is left to do.
Tail tail_of(const CellRewriter& r, int value, const Quantization& x) {
  if (r.model().values[static_cast<size_t>(value)].dtype == DType::float32) return r.patterns.tail(value);
  Tail tail;
  tail.value = value;
  tail.quantization = x;
  tail.low = 0;
  tail.high = 255;
  return tail;
}

// `value` is made of channels of x; in float32 where it is not quantized. `spatial`: its sizes, where they are others.
void take_channels(CellRewriter& r, const Node& node, const CellTensor& x, const std::vector<ChannelRange>& ranges, int value, std::vector<int64_t> spatial = {}) {
  const int64_t channels = channel_count(ranges);
  const Tail tail = tail_of(r, value, x);
  Node step = cell_node("gossamer.Channels", node, {x.in_cells.value}, {{"ranges", to_attribute(ranges)}, {"spatial", std::move(spatial)}});
  look_through(r.made(x.in_cells.node), step);
  if (!tail.quantization || !is_identity(x, tail)) {
    step.outputs = {r.new_cells(node.name)};
    const int taken = step.outputs[0];
    r.emit(std::move(step));
    if (!tail.quantization) {
      r.emit({"gossamer.Dequantize", node.name, {taken}, {value}, {{"channels", channels}, {"scale", x.scale}, {"zero", x.zero}}});
      return;
    }
    step = lookup_node(r, node, taken, requantized(x, tail));
  }
  r.absorb(tail.nodes);
  r.define(tail.value, *tail.quantization, channels, x.in_cells.rank, std::move(step));
}

// How many channels each output of a Split has; nothing where they are computed.
std::vector<int64_t> sizes_of(const CellRewriter& r, const Node& node, int64_t channels) {
  std::vector<int64_t> sizes = node.integers("split");
  if (node.has_input(1)) {
    for (const double size : r.patterns.numbers(node.inputs[1])) sizes.push_back(static_cast<int64_t>(size));
  } else if (sizes.empty()) {
    const auto parts = static_cast<int64_t>(node.outputs.size()), even = (channels + parts - 1) / parts;
    for (int64_t left = channels; left > 0; left -= even) sizes.push_back(std::min(left, even));
  }
  const bool fits = std::all_of(sizes.begin(), sizes.end(), [](int64_t size) { return size > 0; });
  return fits && sizes.size() == node.outputs.size() && std::accumulate(sizes.begin(), sizes.end(), int64_t{0}) == channels ? sizes : std::vector<int64_t>{};
}

bool split(CellRewriter& r, const Node& node) {
  const auto x = r.cell_tensor(node.inputs[0]);
  if (!x || !along_channels(node, *x)) return false;
  const std::vector<int64_t> sizes = sizes_of(r, node, x->in_cells.channels);
  int64_t begin = 0;
  for (size_t i = 0; i < sizes.size(); begin += sizes[i], ++i) {
    if (node.outputs[i] != kAbsent && r.patterns.uses(node.outputs[i]) > 0) take_channels(r, node, *x, {{0, begin, sizes[i]}}, node.outputs[i]);
  }
  return !sizes.empty();
}

bool slice(CellRewriter& r, const Node& node) {
  const auto x = r.cell_tensor(node.inputs[0]);
  if (!x || node.inputs.size() < 4 || !r.patterns.tail(node.outputs[0]).quantization) return false;
  const auto starts = r.patterns.numbers(node.inputs[1]), ends = r.patterns.numbers(node.inputs[2]), axes = r.patterns.numbers(node.inputs[3]);
  const auto steps = node.has_input(4) ? r.patterns.numbers(node.inputs[4]) : std::vector<double>{1};
  if (starts.size() != 1 || ends.size() != 1 || axes.size() != 1 || steps != std::vector<double>{1}) return false;
  if (axes[0] != 1 && axes[0] != 1 - static_cast<double>(x->in_cells.rank)) return false;
  const auto channels = static_cast<double>(x->in_cells.channels);
  const auto place = [&](double at) { return static_cast<int64_t>(std::clamp(at < 0 ? at + channels : at, 0.0, channels)); };
  const int64_t begin = place(starts[0]), end = place(ends[0]);
  if (begin < end) take_channels(r, node, *x, {{0, begin, end - begin}}, node.outputs[0]);
  return begin < end;
}

// The one node that reads `value`, behind a QuantizeLinear and DequantizeLinear that change nothing, which are passed.
const Node* reader_of(const CellRewriter& r, int value, const Quantization& quantization, std::vector<size_t>& passed) {
  while (const auto reader = r.patterns.only_reader(value)) {
    const Node& node = r.patterns.node(*reader);
    passed.push_back(*reader);
    if (node.op != "QuantizeLinear" && node.op != "DequantizeLinear") return &node;
    const auto found = r.patterns.quantization(node);
    if (!found || !found->same_as(quantization)) break;
    value = node.outputs[0];
  }
  return nullptr;
}

bool swaps_groups(const Node& transpose) {
  std::vector<int64_t> order = transpose.integers("perm");
  if (transpose.op != "Transpose" || order.size() < 4) return false;
  std::swap(order[1], order[2]);
  return std::is_sorted(order.begin(), order.end());
}

// Channel shuffle (Zhang et al. 2018, ShuffleNet, section 3.1): a Reshape to groups of channels, a Transpose, a Reshape back.
bool shuffle(CellRewriter& r, const Node& node) {
  const auto x = node.op == "Reshape" ? r.cell_tensor(node.inputs[0]) : std::nullopt;
  if (!x) return false;
  const int64_t channels = x->in_cells.channels;
  std::vector<size_t> passed;
  const Node* transpose = reader_of(r, node.outputs[0], *x, passed);
  const Node* back = transpose && swaps_groups(*transpose) ? reader_of(r, transpose->outputs[0], *x, passed) : nullptr;
  if (!back || back->op != "Reshape" || !node.has_input(1) || !back->has_input(1)) return false;
  const std::vector<double> apart = r.patterns.numbers(node.inputs[1]), together = r.patterns.numbers(back->inputs[1]);
  if (together.size() != x->in_cells.rank || apart.size() != together.size() + 1) return false;
  if (apart[1] < 1 || apart[2] < 1 || apart[1] * apart[2] != static_cast<double>(channels) || together[1] != static_cast<double>(channels)) return false;
  if (!std::equal(together.begin() + 2, together.end(), apart.begin() + 3) || *std::min_element(together.begin() + 2, together.end()) < 1) return false;
  const auto groups = static_cast<int64_t>(apart[1]), each = static_cast<int64_t>(apart[2]);
  std::vector<ChannelRange> ranges;
  for (int64_t to = 0; to < channels; ++to) ranges.push_back({0, to % groups * each + to / groups, 1});
  r.absorb(passed);
  take_channels(r, node, *x, ranges, back->outputs[0], {together.begin() + 2, together.end()});
  return true;
}

// --- moving bytes ----------------------------------------------------------------------------------------------------

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
  if (node.op == "Split") return split(r, node);
  if (node.op == "Slice" && slice(r, node)) return true;
  if (shuffle(r, node)) return true;
  if (node.op == "Pad") note_padding(r, node);
  if (node.op == "QuantizeLinear") return requantize_bytes(r, node);
  return move(r, node) || lookup(r, node) || lookup_bytes(r, node);
}

}  // namespace gossamer
