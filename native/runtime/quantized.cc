#include "runtime/quantized.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "kernels/cells/cells.h"
#include "runtime/load.h"
#include "runtime/op.h"
#include "runtime/quantized_pattern.h"

namespace gossamer {
namespace {

constexpr double kMostInt32 = 2147483647.0;

// A tensor in cells: the value, its number of channels, and where the step stands that makes it.
struct InCells {
  int value;
  int64_t channels;
  size_t node;
};

// What the sums of a product of bytes start from, and what makes results of them; one number for each output channel.
struct Sums {
  std::vector<int32_t> initial;
  std::vector<float> scale, shift;

  // Nothing where a sum, or what becomes a byte, could leave int32.
  static std::optional<Sums> of(const Quantization& x, const ByteWeights& w, const std::vector<double>& bias, const Tail& tail) {
    const auto depth = static_cast<double>(w.values.size()) / static_cast<double>(w.shape[0]);
    const double step = tail.quantization ? double{tail.quantization->scale} : 1.0;
    Sums sums;
    for (size_t o = 0; o < bias.size(); ++o) {
      // sum of (x - zero) w = sum of x w - zero sum of w; and the bias, to the nearest step of the sum.
      const double product_step = double{x.scale} * w.scales[o], steps = std::nearbyint(bias[o] / product_step);
      const double start = steps - static_cast<double>(x.zero) * w.sum(static_cast<int64_t>(o));
      const double most = std::abs(start) + depth * 255 * 128;
      if (!(most < kMostInt32) || (tail.quantization && !(product_step / step * most < kMostInt32))) return std::nullopt;
      sums.initial.push_back(static_cast<int32_t>(start));
      sums.scale.push_back(static_cast<float>(product_step / step));
      sums.shift.push_back(static_cast<float>((bias[o] - steps * product_step) / step));
    }
    return sums;
  }
};

class Rewriter {
 public:
  Rewriter(Model& model, Isa isa) : model_(model), isa_(isa), patterns_(model) {}

  void run() {
    absorbed_.resize(model_.nodes.size());
    for (size_t i = 0; i < model_.nodes.size(); ++i) {
      if (absorbed_[i]) continue;
      const Node& node = model_.nodes[i];
      if (!rewrite(node)) emit(node);
    }
    for (size_t i = 0; i < erased_.size(); ++i) {
      if (erased_[i]) out_[i].op.clear();
    }
    std::erase_if(out_, [](const Node& node) { return node.op.empty(); });
    model_.nodes = std::move(out_);
  }

 private:
  size_t emit(Node node) {
    out_.push_back(std::move(node));
    erased_.push_back(false);
    return out_.size() - 1;
  }

  int new_value(const std::string& name, DType dtype) {
    model_.values.push_back({name, dtype});
    return static_cast<int>(model_.values.size()) - 1;
  }

  template <class Element>
  int new_constant(const std::string& name, DType dtype, Shape shape, const std::vector<Element>& values) {
    const int value = new_value(name, dtype);
    Tensor tensor = make_tensor(dtype, std::move(shape));
    std::copy(values.begin(), values.end(), tensor.as<Element>());
    model_.constants[value].dense = std::move(tensor);
    return value;
  }

  bool rewrite(const Node& node) {
    if (node.op == "Conv") return conv(node);
    if (node.op == "Gemm" || node.op == "MatMul") return product(node);
    if (node.op == "Add") return add(node);
    if (node.op == "MaxPool") return max_pool(node);
    if (node.op == "ReduceMean" || node.op == "GlobalAveragePool") return mean(node);
    if (node.op == "DequantizeLinear") return dequantize(node);
    return move(node) || lookup(node);
  }

  // --- between cells and plain tensors ---------------------------------------------------------------------------------

  // The quantized tensor q in cells; made from what q is made from if it is not in cells yet.
  int cells(int q, const Quantization& quantization, int64_t channels) {
    if (const auto at = in_cells_.find(q); at != in_cells_.end()) return at->second.value;
    const int value = new_value(name_of(q), DType::uint8);
    const Node* maker = patterns_.producer(q);
    if (maker && maker->op == "QuantizeLinear" && patterns_.quantization(*maker)) {
      emit({"gossamer.Quantize", maker->name, {maker->inputs[0]}, {value},
            {{"channels", channels}, {"scale", quantization.scale}, {"zero", quantization.zero}}});
    } else {
      emit({"gossamer.ToCells", name_of(q), {q}, {value}, {{"channels", channels}, {"signed", int64_t{quantization.is_signed}}}});
    }
    in_cells_[q] = {value, channels, out_.size() - 1};
    return value;
  }

  // The quantized tensor q is what `node` writes in cells; its plain form exists for those who need it.
  void define(int q, const Quantization& quantization, int64_t channels, Node node) {
    const int value = new_value(name_of(q), DType::uint8);
    node.outputs = {value};
    in_cells_[q] = {value, channels, emit(std::move(node))};
    emit({"gossamer.ToBytes", name_of(q), {value}, {q}, {{"channels", channels}, {"signed", int64_t{quantization.is_signed}}}});
  }

  std::string name_of(int value) const { return model_.values[static_cast<size_t>(value)].name; }

  bool dequantize(const Node& node) {
    const auto at = in_cells_.find(node.inputs[0]);
    const auto quantization = patterns_.quantization(node);
    if (at == in_cells_.end() || !quantization) return false;
    emit({"gossamer.Dequantize", node.name, {at->second.value}, node.outputs,
          {{"channels", at->second.channels}, {"scale", quantization->scale}, {"zero", quantization->zero}}});
    return true;
  }

  void absorb(const Tail& tail) {
    for (const size_t node : tail.nodes) absorbed_[node] = true;
  }

  // --- convolution -----------------------------------------------------------------------------------------------------

  bool conv(const Node& node) {
    const auto x = patterns_.quantized(node.inputs[0]);
    const auto w = patterns_.weights(node.inputs[1]);
    if (!x || !w || w->shape.size() < 3 || w->shape.size() > 4) return false;
    const int64_t groups = node.integer("group", 1), rows = w->shape[0];
    const auto bias = patterns_.channel_values(node.has_input(2) ? node.inputs[2] : kAbsent, rows);
    if (groups < 1 || rows % groups || !bias) return false;
    const Tail tail = patterns_.tail(node.outputs[0]);
    const auto sums = Sums::of(*x, *w, *bias, tail);
    if (!sums) return false;
    Node fused = attributes_of(node, *x, tail);
    fused.inputs = {cells(x->value, *x, w->shape[1] * groups)};
    add_constants(node, *w, *sums, fused);
    absorb(tail);
    if (tail.quantization) {
      define(tail.value, *tail.quantization, rows, std::move(fused));
    } else {
      fused.outputs = {tail.value};
      emit(std::move(fused));
    }
    return true;
  }

  void add_constants(const Node& node, const ByteWeights& w, const Sums& sums, Node& fused) {
    const Shape channels{w.shape[0]};
    fused.inputs.push_back(new_constant(name_of(node.inputs[1]), DType::int8, w.shape, w.values));
    fused.inputs.push_back(new_constant(node.name + ".initial", DType::int32, channels, sums.initial));
    fused.inputs.push_back(new_constant(node.name + ".scale", DType::float32, channels, sums.scale));
    fused.inputs.push_back(new_constant(node.name + ".shift", DType::float32, channels, sums.shift));
  }

  // --- product ---------------------------------------------------------------------------------------------------------

  // x W with x (..., K) and constant W; with the bias that Gemm has, or that a single Add brings.
  bool product(const Node& node) {
    const bool gemm = node.op == "Gemm";
    if (gemm && (node.integer("transA", 0) || node.real("alpha", 1) != 1 || node.real("beta", 1) != 1)) return false;
    const auto x = patterns_.quantized(node.inputs[0]);
    const auto w = patterns_.weights(node.inputs[1], gemm && node.integer("transB", 0) ? 0 : 1);
    if (!x || !w || w->shape.size() != 2) return false;
    const int64_t rows = w->shape[0];
    const BiasAdd added = gemm ? BiasAdd{node.has_input(2) ? node.inputs[2] : kAbsent, node.outputs[0], {}} : patterns_.bias_add(node.outputs[0], rows);
    const auto bias = patterns_.channel_values(added.bias, rows);
    if (!bias) return false;
    Tail tail = patterns_.tail(added.value);
    const auto sums = Sums::of(*x, *w, *bias, tail);
    if (!sums) return false;
    Node fused{"gossamer.MatMul", node.name, {bytes(*x)}, {tail.value}, {}, 0};
    fused.attributes["float_out"] = int64_t{!tail.quantization};
    // Bytes in the tensor's own sign: cells alone are always unsigned.
    const int64_t sign = tail.quantization && tail.quantization->is_signed ? 128 : 0;
    if (tail.quantization) fused.attributes["zero"] = tail.quantization->zero - sign;
    fused.attributes["low"] = tail.low - static_cast<float>(sign);
    fused.attributes["high"] = tail.high - static_cast<float>(sign);
    add_constants(node, *w, *sums, fused);
    absorb(tail);
    for (const size_t index : added.nodes) absorbed_[index] = true;
    emit(std::move(fused));
    return true;
  }

  // The quantized tensor as uint8, row-major.
  int bytes(const QuantizedTensor& x) {
    if (!x.is_signed) return x.value;
    const int value = new_value(name_of(x.value), DType::uint8);
    emit({"gossamer.Flip", name_of(x.value), {x.value}, {value}, {}, 0});
    return value;
  }

  static Node attributes_of(const Node& node, const QuantizedTensor& x, const Tail& tail) {
    Node fused{"gossamer.Conv", node.name, {}, {}, {}};
    for (const char* name : {"strides", "pads", "dilations", "group", "auto_pad"}) {
      if (const Attribute* value = node.find(name)) fused.attributes[name] = *value;
    }
    fused.attributes["x_zero"] = x.zero;
    fused.attributes["float_out"] = int64_t{!tail.quantization};
    if (tail.quantization) fused.attributes["zero"] = tail.quantization->zero;
    fused.attributes["low"] = tail.low;
    fused.attributes["high"] = tail.high;
    return fused;
  }

  // --- sums ------------------------------------------------------------------------------------------------------------

  bool add(const Node& node) {
    const auto a = patterns_.quantized(node.inputs[0]), b = patterns_.quantized(node.inputs[1]);
    const Tail tail = patterns_.tail(node.outputs[0]);
    if (!a || !b || !tail.quantization || a->value == b->value) return false;
    const auto at_a = in_cells_.find(a->value), at_b = in_cells_.find(b->value);
    if (at_a == in_cells_.end() || at_b == in_cells_.end() || at_a->second.channels != at_b->second.channels) return false;
    absorb(tail);
    const bool a_fits = absorbs_sum(*a, at_a->second), b_fits = absorbs_sum(*b, at_b->second);
    // The later one of the two, for the other must be there when it runs.
    if (a_fits && (!b_fits || at_a->second.node > at_b->second.node)) add_to_conv(*a, *b, tail);
    else if (b_fits) add_to_conv(*b, *a, tail);
    else add_cells(node, *a, *b, tail);
    return true;
  }

  // Whether the convolution that makes q can add to it: nothing else needs q.
  bool absorbs_sum(const QuantizedTensor& q, const InCells& made) const {
    const Node& node = out_[made.node];
    return node.op == "gossamer.Conv" && node.inputs.size() == 5 && patterns_.uses(q.value) == 1 && patterns_.uses(q.dequantized) == 1;
  }

  void add_to_conv(const QuantizedTensor& sum, const QuantizedTensor& other, const Tail& tail) {
    const InCells made = in_cells_.at(sum.value);
    Node fused = out_[made.node];
    erased_[made.node] = erased_[made.node + 1] = true;  // with its ToBytes
    const Quantization& to = *tail.quantization;
    const float keep = sum.scale / to.scale, residual = other.scale / to.scale;
    // m stands for round(t) + zero of the tensor in between, so its limits lose that zero.
    fused.attributes["rounds_mid"] = int64_t{1};
    fused.attributes["mid_low"] = fused.real("low", 0) - static_cast<float>(sum.zero);
    fused.attributes["mid_high"] = fused.real("high", 255) - static_cast<float>(sum.zero);
    fused.attributes["mid_zero"] = sum.zero;
    fused.attributes["keep"] = keep;
    fused.attributes["residual_scale"] = residual;
    fused.attributes["residual_shift"] = -static_cast<float>(other.zero) * residual;
    fused.attributes["zero"] = to.zero;
    fused.attributes["low"] = tail.low;
    fused.attributes["high"] = tail.high;
    fused.inputs.push_back(in_cells_.at(other.value).value);
    define(tail.value, to, made.channels, std::move(fused));
  }

  void add_cells(const Node& node, const QuantizedTensor& a, const QuantizedTensor& b, const Tail& tail) {
    const Quantization& to = *tail.quantization;
    const float a_scale = a.scale / to.scale, b_scale = b.scale / to.scale;
    const float shift = -(static_cast<float>(a.zero) * a_scale + static_cast<float>(b.zero) * b_scale);
    const InCells& first = in_cells_.at(a.value);
    define(tail.value, to, first.channels,
           {"gossamer.Add", node.name, {first.value, in_cells_.at(b.value).value}, {},
            {{"a_scale", a_scale}, {"b_scale", b_scale}, {"shift", shift}, {"zero", to.zero}, {"low", tail.low}, {"high", tail.high}}});
  }

  // --- maxima and means ------------------------------------------------------------------------------------------------

  bool max_pool(const Node& node) {
    const auto x = patterns_.quantized(node.inputs[0]);
    const Tail tail = patterns_.tail(node.outputs[0]);
    const auto at = x ? in_cells_.find(x->value) : in_cells_.end();
    if (at == in_cells_.end() || node.outputs.size() > 1 || !tail.quantization || !tail.only_quantizes || !x->same_as(*tail.quantization)) return false;
    Node pool{"gossamer.MaxPool", node.name, {at->second.value}, {}, node.attributes};
    const int64_t channels = at->second.channels;
    absorb(tail);
    define(tail.value, *tail.quantization, channels, std::move(pool));
    return true;
  }

  bool mean(const Node& node) {
    const auto x = patterns_.quantized(node.inputs[0]);
    const auto at = x ? in_cells_.find(x->value) : in_cells_.end();
    if (at == in_cells_.end() || !patterns_.means_all_pixels(node)) return false;
    const int64_t keeps = node.op == "ReduceMean" ? node.integer("keepdims", 1) : 1;
    emit({"gossamer.Mean", node.name, {at->second.value}, node.outputs,
          {{"channels", at->second.channels}, {"scale", x->scale}, {"zero", x->zero}, {"keepdims", keeps}}});
    return true;
  }

  // --- what bytes can do as they are -----------------------------------------------------------------------------------

  // An operator that moves elements between two tensors of the same quantization moves bytes instead.
  bool move(const Node& node) {
    if (!Patterns::moves_elements(node)) return false;
    const auto x = patterns_.quantized(node.inputs[0]);
    const Tail tail = patterns_.tail(node.outputs[0]);
    if (!x || !tail.quantization || !tail.only_quantizes || !x->same_as(*tail.quantization)) return false;
    Node moved = node;
    moved.inputs[0] = x->value;
    moved.outputs = {tail.value};
    if (!patterns_.takes(moved, x->is_signed ? DType::int8 : DType::uint8)) return false;
    absorb(tail);
    emit(std::move(moved));
    return true;
  }

  // A function of one element between two quantized tensors is a table of 256 bytes.
  bool lookup(const Node& node) {
    const auto x = patterns_.quantized(node.inputs.empty() ? kAbsent : node.inputs[0]);
    if (!x || !Patterns::maps_elements(node) || patterns_.has_variable_inputs(node)) return false;
    const Tail tail = patterns_.tail(node.outputs[0]);
    const auto at = in_cells_.find(x->value);
    if (!tail.quantization || at == in_cells_.end()) return false;
    const int table = new_constant(node.name + ".table", DType::uint8, {256}, patterns_.table(node, *x, tail, isa_));
    const InCells from = at->second;
    absorb(tail);
    define(tail.value, *tail.quantization, from.channels, {"gossamer.Lookup", node.name, {from.value, table}, {}, {}});
    return true;
  }

  Model& model_;
  const Isa isa_;
  const Patterns patterns_;
  std::vector<Node> out_;
  std::vector<bool> erased_, absorbed_;
  std::map<int, InCells> in_cells_;
};

void remove_unneeded(Model& model) {
  std::set<int> needed(model.outputs.begin(), model.outputs.end());
  std::vector<Node> kept;
  for (size_t i = model.nodes.size(); i-- > 0;) {
    Node& node = model.nodes[i];
    if (std::none_of(node.outputs.begin(), node.outputs.end(), [&](int v) { return v != kAbsent && needed.count(v); })) continue;
    for (const int value : node.inputs) needed.insert(value);
    kept.push_back(std::move(node));
  }
  std::reverse(kept.begin(), kept.end());
  model.nodes = std::move(kept);
}

bool is_quantized(const Model& model) {
  return std::any_of(model.nodes.begin(), model.nodes.end(), [](const Node& node) { return node.op == "DequantizeLinear"; });
}

}  // namespace

void rewrite_quantized(Model& model, Isa isa) {
  if (!is_quantized(model)) return;
  Rewriter(model, isa).run();
  remove_unneeded(model);
}

}  // namespace gossamer
