#include "runtime/quantized.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/cells/cells.h"
#include "runtime/integer_layers.h"
#include "runtime/load.h"
#include "runtime/op.h"
#include "runtime/quantized_cells.h"
#include "runtime/quantized_moves.h"

namespace gossamer {
namespace {

constexpr double kMostInt32 = 2147483647.0;
// Of a bias in steps of its sum: what is more is added afterwards (channels whose weights are almost nothing have it).
constexpr double kMostBiasSteps = 1 << 24;
// Weights that use more than 7 bits. The steps of their sums are so small that a bias is rounded to whole ones, as it is
// in files with int32 biases.
constexpr int kFine = 64;
constexpr int64_t kMostPadding = 4096;  // that a convolution takes over

// What the sums of a product of bytes start from, and what makes results of them; one number for each output channel.
struct Sums {
  std::vector<int32_t> initial;
  std::vector<float> scale, shift;

  // Nothing where a sum, or what becomes a byte, could leave int32. own_bias: the layer's, not that of an Add behind it.
  static std::optional<Sums> of(const Quantization& x, const ByteWeights& w, const std::vector<double>& bias, bool own_bias, const Tail& tail) {
    const auto depth = static_cast<double>(w.values.size()) / static_cast<double>(w.shape[0]);
    const float step = tail.quantization ? tail.quantization->scale : 1.0f;
    const bool fine = std::any_of(w.values.begin(), w.values.end(), [](int8_t v) { return v >= kFine || v <= -kFine; });
    Sums sums;
    for (size_t o = 0; o < bias.size(); ++o) {
      // sum of (x - zero) w = sum of x w - zero sum of w; and the bias, to the nearest step of the sum.
      // In float32, as a file's bias has it and as other runtimes multiply: then all of them round the same number.
      const float product_step = x.scale * w.scales[o];
      const float scale = product_step / step;
      if (!(product_step > 0 && std::isfinite(product_step) && std::isfinite(scale))) return std::nullopt;
      const double whole = std::nearbyint(bias[o] / product_step), steps = std::clamp(whole, -kMostBiasSteps, kMostBiasSteps);
      const bool rounded = own_bias && fine && steps == whole;
      const double start = steps - static_cast<double>(x.zero) * w.sum(static_cast<int64_t>(o));
      const double most = std::abs(start) + depth * 255 * 128;
      if (!(most < kMostInt32) || (tail.quantization && !(double{product_step} / step * most < kMostInt32))) return std::nullopt;
      sums.initial.push_back(static_cast<int32_t>(start));
      sums.scale.push_back(scale);
      sums.shift.push_back(rounded ? 0.0f : static_cast<float>((bias[o] - steps * product_step) / step));
    }
    return sums;
  }
};

class Rewriter : public CellRewriter {
 public:
  using CellRewriter::CellRewriter;

  void run() {
    for (size_t i = 0; i < model().nodes.size(); ++i) {
      if (is_absorbed(i)) continue;
      const Node& node = model().nodes[i];
      if (!rewrite(node)) emit(node);
    }
    finish();
  }

 private:
  bool rewrite(const Node& node) {
    if (node.op == "Conv") return conv(node);
    if (node.op == "Gemm" || node.op == "MatMul") return product(node);
    if (node.op == "DequantizeLinear") return dequantize(node);
    return rewrite_integer_layer(*this, node) || rewrite_map(*this, node);
  }

  bool dequantize(const Node& node) {
    const auto at = in_cells(node.inputs[0]);
    const auto quantization = patterns.quantization(node);
    if (!at || !quantization) return false;
    emit({"gossamer.Dequantize", node.name, {at->value}, node.outputs,
          {{"channels", at->channels}, {"scale", quantization->scale}, {"zero", quantization->zero}}});
    return true;
  }

  // --- convolution -----------------------------------------------------------------------------------------------------

  // Lets the convolution pad with the zeros of a Pad before it.
  void take_padding(Node& node, QuantizedTensor& x, size_t spatial) const {
    const std::string mode = node.text("auto_pad", "NOTSET");
    std::vector<int64_t> pads = node.integers("pads");
    const Padded* outer = mode == "VALID" || mode == "NOTSET" ? padded(x.value) : nullptr;
    if (!outer || outer->pads.size() != 2 * spatial || (!pads.empty() && (mode == "VALID" || pads.size() != 2 * spatial))) return;
    if (std::any_of(pads.begin(), pads.end(), [](int64_t pad) { return pad < 0 || pad > kMostPadding; })) return;
    pads.resize(2 * spatial);
    for (size_t i = 0; i < pads.size(); ++i) pads[i] += outer->pads[i];
    node.attributes["pads"] = pads;
    node.attributes.erase("auto_pad");
    x = outer->inner;
  }

  bool conv(const Node& given) {
    auto x = patterns.quantized(given.inputs[0]);
    const auto w = patterns.weights(given.inputs[1]);
    if (!x || !w || w->shape.size() < 3 || w->shape.size() > 4) return false;
    Node node = given;
    take_padding(node, *x, w->shape.size() - 2);
    const int64_t groups = node.integer("group", 1), rows = w->shape[0];
    const auto bias = patterns.channel_values(node.has_input(2) ? node.inputs[2] : kAbsent, rows);
    if (groups < 1 || rows % groups || !bias) return false;
    const Tail tail = patterns.tail(node.outputs[0]);
    const auto sums = Sums::of(*x, *w, *bias, true, tail);
    if (!sums) return false;
    Node fused = attributes_of(node, *x, tail);
    fused.inputs = {cells(x->value, *x, w->shape[1] * groups, w->shape.size())};
    add_constants(node, *w, *sums, fused);
    absorb(tail.nodes);
    if (tail.quantization) {
      define(tail.value, *tail.quantization, rows, w->shape.size(), std::move(fused));
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
    const auto x = patterns.quantized(node.inputs[0]);
    const auto w = patterns.weights(node.inputs[1], gemm && node.integer("transB", 0) ? 0 : 1);
    if (!x || !w || w->shape.size() != 2) return false;
    const int64_t rows = w->shape[0];
    const BiasAdd added = gemm ? BiasAdd{node.has_input(2) ? node.inputs[2] : kAbsent, node.outputs[0], {}} : patterns.bias_add(node.outputs[0], rows);
    const auto bias = patterns.channel_values(added.bias, rows);
    if (!bias) return false;
    Tail tail = patterns.tail(added.value);
    const auto sums = Sums::of(*x, *w, *bias, gemm, tail);
    if (!sums) return false;
    Node fused{"gossamer.MatMul", node.name, {bytes(*x)}, {tail.value}, {}, 0};
    fused.attributes["float_out"] = int64_t{!tail.quantization};
    // Bytes in the tensor's own sign: cells alone are always unsigned.
    const int64_t sign = tail.quantization && tail.quantization->is_signed ? 128 : 0;
    fused.attributes["signed"] = int64_t{sign != 0};
    if (tail.quantization) fused.attributes["zero"] = tail.quantization->zero - sign;
    fused.attributes["low"] = tail.low - static_cast<float>(sign);
    fused.attributes["high"] = tail.high - static_cast<float>(sign);
    add_constants(node, *w, *sums, fused);
    absorb(tail.nodes);
    absorb(added.nodes);
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
};

bool is_quantized(const Model& model) {
  return std::any_of(model.nodes.begin(), model.nodes.end(), [](const Node& node) {
    return node.op == "DequantizeLinear" || node.op == "ConvInteger";
  });
}

}  // namespace

void rewrite_quantized(Model& model, Isa isa) {
  if (!is_quantized(model)) return;
  move_bytes_instead(model);
  Rewriter(model, isa).run();
  remove_unneeded(model);
}

}  // namespace gossamer
