#include "runtime/signs.h"

#include <cmath>
#include <limits>
#include <set>

#include "kernels/xnor/xnor.h"
#include "runtime/quantized_pattern.h"

namespace gossamer {
namespace {

constexpr int64_t kMostDepth = int64_t{1} << 24;  // signs of a sum that is a float32 exactly

// `magnitude` where x >= limit, else -magnitude.
struct Signs {
  int x;
  float limit, magnitude;
};

// Rows of signs, each followed by zeros to whole words, and the magnitude of each row.
struct SignWeights {
  std::vector<int32_t> words;
  std::vector<float> scales;
};

class SignRewriter {
 public:
  explicit SignRewriter(Model& model) : model_(model), patterns_(model) {}

  void run() {
    for (Node& node : model_.nodes) {
      if (node.op == "Conv") conv(node);
      else if (node.op == "Gemm" || node.op == "MatMul") product(node);
    }
    if (replaced_.empty()) return;
    remove_unneeded(model_);
    forget_unread();
  }

 private:
  std::optional<float> scalar(int value) const {
    const Constant* found = value == kAbsent ? nullptr : model_.constant(value);
    if (!found || !found->dense.data || found->dense.dtype != DType::float32 || found->dense.shape.size() > 1) return std::nullopt;
    return element_count(found->dense.shape) == 1 ? std::optional(*found->dense.as<float>()) : std::nullopt;
  }

  std::optional<Signs> signs(int value) const {
    const Node* choice = patterns_.producer(value);
    const Node* test = choice && choice->op == "Where" ? patterns_.producer(choice->inputs[0]) : nullptr;
    if (!test || (test->op != "GreaterOrEqual" && test->op != "Greater") || !test->has_input(0)) return std::nullopt;
    const auto limit = scalar(test->inputs[1]), high = scalar(choice->inputs[1]), low = scalar(choice->inputs[2]);
    if (model_.values[static_cast<size_t>(test->inputs[0])].dtype != DType::float32) return std::nullopt;
    if (!limit || !std::isfinite(*limit) || !high || !low || *high != -*low || !std::isfinite(*high) || *high == 0) return std::nullopt;
    // x > t is x >= the next number.
    const float least = test->op == "Greater" ? std::nextafter(*limit, std::numeric_limits<float>::infinity()) : *limit;
    return Signs{test->inputs[0], least, *high};
  }

  // The weights as floats; nothing where they are no constants of float32 of that rank.
  std::optional<Tensor> floats(int value, size_t least_rank, size_t most_rank) const {
    const Constant* found = value == kAbsent ? nullptr : model_.constant(value);
    if (!found || found->dense.dtype != DType::float32 || found->compressed.index() == 2) return std::nullopt;  // sparse: zeros
    const size_t rank = found->dense.shape.size();
    if (rank < least_rank || rank > most_rank || element_count(found->dense.shape) == 0) return std::nullopt;
    Constant whole = *found;
    decode(whole);
    return whole.dense;
  }

  // Row r has `taps` times `channels` elements, at r row + c channel + t; words of each tap begin anew.
  struct Layout {
    int64_t rows, channels, taps, row, channel;
  };

  static std::optional<SignWeights> sign_weights(const float* w, const Layout& l) {
    SignWeights made;
    const int64_t of_tap = sign_words(l.channels);
    if (l.channels * l.taps >= kMostDepth) return std::nullopt;
    made.words.assign(static_cast<size_t>(l.rows * l.taps * of_tap), 0);
    for (int64_t r = 0; r < l.rows; ++r) {
      const float* row = w + r * l.row;
      const float scale = std::abs(row[0]);
      if (!(scale > 0) || !std::isfinite(scale)) return std::nullopt;
      made.scales.push_back(scale);
      for (int64_t c = 0; c < l.channels; ++c) {
        for (int64_t t = 0; t < l.taps; ++t) {
          const float value = row[c * l.channel + t];
          if (std::abs(value) != scale) return std::nullopt;
          int32_t& word = made.words[static_cast<size_t>((r * l.taps + t) * of_tap + c / 32)];
          word = static_cast<int32_t>(static_cast<uint32_t>(word) | uint32_t{value > 0} << (c % 32));
        }
      }
    }
    return made;
  }

  void conv(Node& node) {
    const auto x = signs(node.inputs[0]);
    const auto w = x ? floats(node.inputs[1], 3, 4) : std::nullopt;
    if (!w) return;
    const Shape& shape = w->shape;
    const int64_t taps = element_count(Shape(shape.begin() + 2, shape.end()));
    const auto weights = sign_weights(w->as<float>(), {shape[0], shape[1], taps, shape[1] * taps, taps});
    if (!weights) return;
    if (node.integer("group", 1) != 1) {
      node.note = "float32: bits are counted in convolutions of one group only";
      return;
    }
    node.attributes["kernel_shape"] = std::vector<int64_t>(shape.begin() + 2, shape.end());
    replace(node, "gossamer.SignConv", *x, *weights, shape[0], shape[1], taps);
  }

  void product(Node& node) {
    const bool gemm = node.op == "Gemm", transposed = gemm && node.integer("transB", 0);
    const auto x = signs(node.inputs[0]);
    const auto w = x ? floats(node.inputs[1], 2, 2) : std::nullopt;
    if (!w) return;
    const int64_t rows = w->shape[transposed ? 0 : 1], depth = w->shape[transposed ? 1 : 0];
    const Layout layout = transposed ? Layout{rows, depth, 1, depth, 1} : Layout{rows, depth, 1, 1, rows};
    const auto weights = sign_weights(w->as<float>(), layout);
    if (!weights) return;
    if (gemm && !plain(node, rows)) {
      node.note = "float32: bits are counted in Gemm without transA, alpha and beta, and with one C for each column only";
      return;
    }
    replace(node, "gossamer.SignMatMul", *x, *weights, rows, depth, 1);
  }

  // Whether a Gemm is a product and a bias.
  bool plain(const Node& gemm, int64_t rows) const {
    if (gemm.integer("transA", 0) || gemm.real("alpha", 1) != 1 || gemm.real("beta", 1) != 1) return false;
    return !gemm.has_input(2) || is_bias(gemm.inputs[2], rows);
  }

  bool is_bias(int value, int64_t rows) const {
    const Constant* found = model_.constant(value);
    return found && found->dense.data && found->dense.dtype == DType::float32 && element_count(found->dense.shape) == rows &&
           !found->dense.shape.empty() && found->dense.shape.back() == rows;
  }

  void replace(Node& node, const char* op, const Signs& x, SignWeights weights, int64_t rows, int64_t channels, int64_t taps) {
    replaced_.insert(node.inputs[1]);
    for (float& scale : weights.scales) scale *= x.magnitude;
    const std::string& name = model_.values[static_cast<size_t>(node.inputs[1])].name;
    const int bias = node.has_input(2) ? node.inputs[2] : kAbsent;
    const int words = add_constant(name + ".signs", DType::int32, {rows, taps * sign_words(channels)}, weights.words);
    node.inputs = {x.x, words, bias, add_constant(name + ".scale", DType::float32, {rows}, weights.scales)};
    node.op = op;
    node.attributes["channels"] = channels;
    node.attributes["limit"] = x.limit;
  }

  template <class Element>
  int add_constant(const std::string& name, DType dtype, Shape shape, const std::vector<Element>& values) {
    const int value = static_cast<int>(model_.values.size());
    model_.values.push_back({name, dtype});
    Tensor tensor = make_tensor(dtype, std::move(shape));
    std::copy(values.begin(), values.end(), tensor.as<Element>());
    model_.constants[value].dense = std::move(tensor);
    return value;
  }

  // Weights that exist as bits now take no more memory as floats.
  void forget_unread() {
    std::set<int> read(model_.outputs.begin(), model_.outputs.end());
    for (const Node& node : model_.nodes) read.insert(node.inputs.begin(), node.inputs.end());
    for (const int value : replaced_) {
      if (!read.count(value)) model_.constants.erase(value);
    }
  }

  Model& model_;
  const Patterns patterns_;
  std::set<int> replaced_;
};

}  // namespace

void rewrite_signs(Model& model) {
  for (const Node& node : model.nodes) {
    if (node.op == "Where") return SignRewriter(model).run();
  }
}

}  // namespace gossamer
