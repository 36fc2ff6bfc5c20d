#include "runtime/sparse_conv.h"

#include <algorithm>

#include "runtime/cell_conv.h"
#include "runtime/conv_step.h"

namespace gossamer {
namespace {

// Below this share of zeros no pattern is faster than dense weights. Those of groups are zero everywhere else, however, and
// where the input is read as it lies dense weights are not slow either. Nor are few dense weights: cells are vectors of
// pixels, which few channels do not leave half empty.
constexpr double kLeastZeros = 0.4;
constexpr int64_t kFewWeights = 1 << 16;

const float* constant_floats(const Build& b, int value) {
  const Constant* constant = value == kAbsent ? nullptr : b.model.constant(value);
  return constant && constant->dense.data ? constant->dense.as<float>() : nullptr;
}

int bias_of(const Build& b) { return b.has(2) ? b.node.inputs[2] : b.epilogue.bias; }

// Cycles on a core: a vector of products for each kept cell, more where rows do not share their pattern and so wait for
// their loads; what follows the sums; and the copy of the input.
double sparse_cycles(const ConvShape& s, const CellPlanes& planes, const CellWeights& w, int lanes) {
  const double cost = w.group_rows == 4 ? 1.1 : w.group_rows == 2 ? 1.4 : 2.2;
  const auto vectors = static_cast<double>((planes.positions().count + lanes - 1) / lanes);
  const double sums = vectors * (cost * static_cast<double>(w.kept) + 6.0 * static_cast<double>(s.out_channels));
  const double copy = planes.copies() ? static_cast<double>(planes.cells()) * (s.stride_w > 1 ? 1.0 : 0.125) : 0;
  return static_cast<double>(s.batch) * (sums + copy);
}

}  // namespace

std::optional<double> sparse_conv_cycles(const Build& b, const ConvShape& s) {
  const float* weights = b.known_floats(1);
  const int bias = bias_of(b);
  if (!weights || (bias != kAbsent && !constant_floats(b, bias))) return std::nullopt;
  const int64_t count = element_count(b.shape(1)), zeros = std::count(weights, weights + count, 0.0f);
  const bool grouped = s.groups > 1 && s.in_channels > s.groups;
  if (!grouped && !is_product(s) && count > kFewWeights && static_cast<double>(zeros) < kLeastZeros * static_cast<double>(count)) return std::nullopt;
  const CellPlanes planes(s, s.in_channels, b.in_arena(b.in(0)));
  return sparse_cycles(s, planes, pack_cell_weights(s, planes, weights), fastest(kCellFloatKernels, b.isa).lanes);
}

Step sparse_conv_step(Build& b, const ConvShape& s) {
  CellConv conv;
  conv.shape = s;
  conv.float_weights = b.known_floats(1);
  conv.initial = constant_floats(b, bias_of(b));
  conv.epilogue.low = b.epilogue.low;
  conv.epilogue.high = b.epilogue.high;
  conv.weight_value = b.node.inputs[1];
  conv.x = b.in(0);
  conv.y = b.out();
  conv.residual = b.optional(b.epilogue.residual);
  if (conv.residual != kNoSlot) b.in_place.push_back(b.epilogue.residual);
  return cell_conv_step(b, conv);
}

}  // namespace gossamer
