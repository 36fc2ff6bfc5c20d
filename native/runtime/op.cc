#include "runtime/op.h"

#include <algorithm>
#include <limits>
#include <string>

#include "runtime/control.h"
#include "runtime/errors.h"
#include "runtime/rewrite.h"
#include "runtime/sampling.h"
#include "runtime/signal.h"
#include "runtime/signs.h"

namespace gossamer {
namespace {

using Table = std::span<const Operator> (*)();
constexpr Table kTables[] = {linear_operators, conv_operators, pool_operators, elementwise_operators,
                             row_operators, shape_operators, data_operators, quantize_operators,
                             cell_operators, cell_map_operators, byte_operators, attention_operators,
                             function_operators, index_operators,
                             select_operators, rearrange_operators, normalize_operators, resize_operators,
                             einsum_operators, recurrent_operators, window_operators, integer_operators,
                             integer_only_operators, sign_operators, sampling_operators, signal_operators};

}  // namespace

const Operator* find_operator(std::string_view name) {
  for (const Table table : kTables) {
    for (const Operator& op : table()) {
      if (name == op.name) return &op;
    }
  }
  return nullptr;
}

std::vector<std::string> operator_names() {
  std::vector<std::string> names{"Constant"};  // becomes a constant before any table is asked
  names.insert(names.end(), std::begin(kControlOperators), std::end(kControlOperators));
  const auto written = rewritten_operators();
  names.insert(names.end(), written.begin(), written.end());
  for (const Table table : kTables) {
    for (const Operator& op : table()) {
      const std::string_view name(op.name);
      if (!name.starts_with(kInternal) && !name.starts_with(kOwn)) names.emplace_back(op.name);
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<int64_t> Inference::integers(size_t i) const {
  const ValueInfo& info = *inputs[i];
  if (!info.known) {
    throw NeedsContent(node.label() + ": input " + std::to_string(i) + " decides a shape and depends on what the network is given",
                       node.inputs[i]);
  }
  const int64_t count = element_count(info.shape);
  if (info.dtype == DType::int64) {
    const auto* values = reinterpret_cast<const int64_t*>(info.known);
    return {values, values + count};
  }
  if (info.dtype == DType::int32) {
    const auto* values = reinterpret_cast<const int32_t*>(info.known);
    return {values, values + count};
  }
  reject_type(node, i, info.dtype, "int64 and int32");
}

void Inference::fail(const std::string& why) const { throw ShapeError(node.label() + ": " + why); }

Epilogue::Epilogue()
    : low(-std::numeric_limits<float>::infinity()), high(std::numeric_limits<float>::infinity()) {}

bool Epilogue::clamps() const { return low > -std::numeric_limits<float>::infinity() || high < std::numeric_limits<float>::infinity(); }

PackedWeights::Memory PackedWeights::get(const std::string& key, const std::function<Memory()>& make) {
  const std::lock_guard lock(mutex_);
  Memory& memory = made_[key];
  if (!memory) memory = make();
  return memory;
}

void Step::add_note(const std::string& more) {
  if (!more.empty()) note += (note.empty() ? "" : "; ") + more;
}

const float* Build::known_floats(size_t i) const {
  return has(i) ? reinterpret_cast<const float*>(inputs[i]->known) : nullptr;
}

void reject_type(const Node& node, size_t input, DType dtype, const std::string& have) {
  throw Unsupported(node.label() + ": input " + std::to_string(input) + " is " + dtype_name(dtype) + "; supported here: " +
                    have + ". Cast it before exporting");
}

std::vector<DType> float_types(const Node& node, const Types& inputs) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i] && inputs[i] != DType::float32) reject_type(node, i, *inputs[i], "float32");
  }
  return {DType::float32};
}

std::vector<DType> first_type(const Node&, const Types& inputs) { return {*inputs[0]}; }

std::vector<DType> index_types(const Node&, const Types&) { return {DType::int64}; }

int64_t wrap_axis(int64_t axis, int64_t rank, const Node& node) {
  if (axis < -rank || axis >= rank) {
    throw ShapeError(node.label() + ": axis " + std::to_string(axis) + " of a tensor of " + std::to_string(rank) + " dimensions");
  }
  return axis < 0 ? axis + rank : axis;
}

Shape broadcast(const Shape& a, const Shape& b, const Node& node) {
  Shape out(std::max(a.size(), b.size()));
  for (size_t d = 0; d < out.size(); ++d) {
    const size_t back = out.size() - d;
    const int64_t x = back <= a.size() ? a[a.size() - back] : 1, y = back <= b.size() ? b[b.size() - back] : 1;
    if (x != y && x != 1 && y != 1) {
      throw ShapeError(node.label() + ": shapes " + shape_text(a) + " and " + shape_text(b) + " do not broadcast");
    }
    out[d] = x == 1 ? y : x;
  }
  return out;
}

int64_t product(const Shape& shape, size_t from, size_t to) {
  return element_count(Shape(shape.begin() + static_cast<int64_t>(from), shape.begin() + static_cast<int64_t>(to)));
}

}  // namespace gossamer
