// What a network of float operators between QuantizeLinear and DequantizeLinear says about its tensors.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <vector>

#include "kernels/isa.h"
#include "runtime/model.h"

namespace gossamer {

// x = (q - zero) scale for every element. int8 tensors are seen as uint8: q + 128.
struct Quantization {
  float scale = 1;
  int64_t zero = 0;
  bool is_signed = false;

  bool same_as(const Quantization& other) const {
    return scale == other.scale && zero == other.zero && is_signed == other.is_signed;
  }
};

// A quantized tensor that a float operator reads: q (value) through a DequantizeLinear (dequantized).
struct QuantizedTensor : Quantization {
  int value = kAbsent, dequantized = kAbsent;
};

// Constant 8-bit weights, one scale for each output channel, zero points subtracted.
struct ByteWeights {
  Shape shape;
  std::vector<int8_t> values;
  std::vector<float> scales;

  double sum(int64_t channel) const;
};

// What follows an operator whose result nothing else reads: Relu or Clip, then QuantizeLinear.
struct Tail {
  int value = kAbsent;  // what the last absorbed node writes
  std::vector<size_t> nodes;  // absorbed
  std::optional<Quantization> quantization;  // nothing: the result stays float32
  bool only_quantizes = true;  // no Relu, no Clip
  float low, high;  // of bytes, or of floats
};

// An Add of one number for each output channel to a product that nothing else reads.
struct BiasAdd {
  int bias = kAbsent;
  int value = kAbsent;  // the product with its bias
  std::vector<size_t> nodes;  // absorbed
};

class Patterns {
 public:
  explicit Patterns(const Model& model);

  // Its content, where a value is a constant.
  const Tensor* constant(int value) const;
  // Its elements as numbers; none where it is no constant.
  std::vector<double> numbers(int value) const;
  const Node* producer(int value) const;
  std::optional<size_t> producer_index(int value) const;
  const Node& node(size_t index) const { return nodes_[index]; }
  int uses(int value) const;
  // The one node that reads a value which nothing else needs.
  std::optional<size_t> only_reader(int value) const;
  // Of a QuantizeLinear or DequantizeLinear with constant parameters for the whole tensor; else nothing.
  std::optional<Quantization> quantization(const Node& node) const;
  std::optional<QuantizedTensor> quantized(int value) const;
  // `axis`: that of the output channels, brought to the front (0, or 1 of a matrix).
  std::optional<ByteWeights> weights(int value, int64_t axis = 0) const;
  // Constant 8-bit weights as integer operators read them, output channels first: less their zero points, one or one for each
  // output channel (kAbsent: none). `scales` stays empty.
  std::optional<ByteWeights> integer_weights(int value, int zero) const;
  // One number for each of `count` channels, from float32 or dequantized int32 constants; kAbsent: zeros.
  std::optional<std::vector<double>> channel_values(int value, int64_t count) const;
  Tail tail(int value) const;
  BiasAdd bias_add(int product, int64_t channels) const;
  bool means_all_pixels(const Node& node, size_t rank) const;
  // Whether the operator takes a first input of this type and gives an output of the same.
  bool takes(const Node& node, DType dtype) const;
  static bool moves_elements(const Node& node);
  // Of a Pad with the constant zero of spatial dimensions alone: how much in front of and behind each.
  std::optional<std::vector<int64_t>> spatial_zeros(const Node& node) const;
  // Where `node` is a function of each element of one input, beside constants: that input's number.
  std::optional<size_t> mapped_input(const Node& node, size_t rank) const;
  // The 256 results of dequantizing a byte of input `input`, `node`, and the tail.
  std::vector<uint8_t> table(const Node& node, size_t input, const QuantizedTensor& x, const Tail& tail, Isa isa) const;

 private:
  int origin(int value) const;  // what Identity operators copy: exporters share equal constants so
  std::optional<double> scalar(int value) const;
  // A constant, or what one is dequantized to with one scale.
  std::optional<Tensor> constant_or_dequantized(int value) const;
  bool clamps(const Node& node, float& low, float& high) const;
  std::optional<ByteWeights> shifted(const Tensor& ints, int64_t axis, const std::vector<double>& zeros) const;

  const Model& model_;
  std::vector<Node> nodes_;  // as they were, for the model's own are being replaced
  std::map<int, size_t> producer_, reader_;
  std::map<int, int> uses_;
};

}  // namespace gossamer
