#include "runtime/element_chain.h"

#include <algorithm>
#include <limits>

#include "runtime/element_functions.h"
#include "runtime/strided.h"

namespace gossamer {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int64_t kChunk = 2048;  // elements: 8 KB, a quarter of the first cache
constexpr int64_t kShortestRow = 64;  // below, calling the kernels costs more than the memory that is saved
constexpr int64_t kWorthSharing = 65536;  // elements; below, waking a thread costs more than it brings

// --- the operands' places ------------------------------------------------------------------------------------------------

// The elements of a shape in rows: along one, every array goes on by one element or stays where it is.
class Rows {
 public:
  Rows(const Shape& shape, const std::vector<Shape>& arrays) : steps_(arrays.size(), 0) {
    std::vector<Shape> strides;
    for (const Shape& own : arrays) strides.push_back(broadcast_strides(own, shape));
    for (size_t d = 0; d < shape.size(); ++d) {
      if (shape[d] != 1) add(shape[d], d, strides);
    }
    if (dims_.empty()) return;
    length_ = dims_.back().size;
    for (size_t a = 0; a < steps_.size(); ++a) steps_[a] = dims_.back().strides[a] != 0;
    dims_.pop_back();
    for (const Dim& dim : dims_) count_ *= dim.size;
  }

  int64_t length() const { return length_; }
  int64_t count() const { return count_; }
  int step(size_t array) const { return steps_[array]; }

  // Of the array's first element of a row.
  int64_t offset(size_t array, int64_t row) const {
    int64_t at = 0;
    for (size_t d = dims_.size(); d-- > 0;) {
      at += row % dims_[d].size * dims_[d].strides[array];
      row /= dims_[d].size;
    }
    return at;
  }

 private:
  struct Dim {
    int64_t size;
    std::vector<int64_t> strides;  // by array
  };

  // Merged with the dimension before it where all arrays go on evenly from one to the other.
  void add(int64_t size, size_t d, const std::vector<Shape>& strides) {
    Dim dim{size, {}};
    for (const Shape& of : strides) dim.strides.push_back(of[d]);
    bool even = !dims_.empty();
    for (size_t a = 0; a < strides.size() && even; ++a) even = dims_.back().strides[a] == dim.strides[a] * size;
    if (even) {
      dim.size *= dims_.back().size;
      dims_.pop_back();
    }
    dims_.push_back(std::move(dim));
  }

  std::vector<Dim> dims_;
  std::vector<int> steps_;
  int64_t length_ = 1, count_ = 1;
};

// --- running -------------------------------------------------------------------------------------------------------------

constexpr size_t kPrevious = static_cast<size_t>(-1);

// One function. Arrays are numbers of operands, or kPrevious: what the link before it gave.
struct Link {
  bool is_unary = true;
  UnaryArgs unary{};
  BinaryArgs binary{};
  size_t a = kPrevious, b = kPrevious;
};

struct Chain {
  std::vector<Link> links;
  std::vector<Slot> operands;
  Slot y = kNoSlot;
  Rows rows;
  void (*unary)(const UnaryArgs&) = nullptr;
  void (*binary)(const BinaryArgs&) = nullptr;

  void operator()(const Run& run) const {
    const int64_t pieces = (rows.length() + kChunk - 1) / kChunk, items = rows.count() * pieces;
    const auto part = [&](int64_t begin, int64_t end, int) {
      for (int64_t item = begin; item < end; ++item) piece(run, item / pieces, item % pieces * kChunk);
    };
    if (rows.count() * rows.length() < kWorthSharing) part(0, items, 0);
    else run.pool->share(items, part);
  }

  // Up to kChunk elements of a row, from element `at` on, through all links.
  void piece(const Run& run, int64_t row, int64_t at) const {
    alignas(64) float kept[kChunk];
    const int64_t n = std::min(kChunk, rows.length() - at);
    const auto array = [&](size_t number) -> const float* {
      return number == kPrevious ? kept : run.at<float>(operands[number]) + rows.offset(number, row) + at * rows.step(number);
    };
    for (const Link& link : links) {
      float* to = &link == &links.back() ? run.at<float>(y) + row * rows.length() + at : kept;
      if (link.is_unary) {
        UnaryArgs u = link.unary;
        u.n = n, u.x = array(link.a), u.y = to;
        unary(u);
      } else {
        BinaryArgs g = link.binary;
        g.n = n, g.a = array(link.a), g.b = array(link.b), g.y = to;
        g.a_step = step(link.a), g.b_step = step(link.b);
        binary(g);
      }
    }
  }

  int step(size_t number) const { return number == kPrevious ? 1 : rows.step(number); }
};

// --- building ------------------------------------------------------------------------------------------------------------

class ChainBuilder {
 public:
  explicit ChainBuilder(Build& b) : b_(b) {
    add(b.node, kAbsent);
    int previous = b.node.outputs[0];
    for (const Node* node : b.chain) {
      add(*node, previous);
      previous = node->outputs[0];
    }
  }

  Step step() {
    const auto& unary = fastest(kUnaryKernels, b_.isa);
    return {Chain{std::move(links_), std::move(slots_), b_.out(), Rows(b_.out_shape(), shapes_), unary.run, fastest(kBinaryKernels, b_.isa).run},
            unary.name, note_};
  }

 private:
  size_t array_of(int value, int previous) {
    if (value == previous) return kPrevious;
    const Shape& shape = b_.info_of(value).shape;
    if (shape == b_.out_shape()) b_.in_place.push_back(value);
    slots_.push_back(b_.slot_of(value));
    shapes_.push_back(shape);
    return slots_.size() - 1;
  }

  void add(const Node& node, int previous) {
    if (const auto function = unary_of(node)) add_unary(node, *function, previous);
    else add_binary(node, *binary_of(node), previous);
  }

  void add_unary(const Node& node, Unary function, int previous) {
    Link link;
    link.unary = unary_args(node, function);
    if (node.has_input(1)) link.unary.a = *reinterpret_cast<const float*>(b_.info_of(node.inputs[1]).known);  // of a Clip
    if (node.has_input(2)) link.unary.b = *reinterpret_cast<const float*>(b_.info_of(node.inputs[2]).known);
    if (function >= kFirstScalarUnary) note_one_by_one(node);
    if (!links_.empty() && bounds(links_.back(), link.unary)) return;
    link.a = array_of(node.inputs[0], previous);
    links_.push_back(link);
  }

  // A clamp after a function of two elements is that function's own.
  static bool bounds(Link& before, const UnaryArgs& u) {
    if (before.is_unary || before.binary.op == Binary::pow || u.op != Unary::clip || !(u.a <= u.b)) return false;
    if (before.binary.low != -kInfinity || before.binary.high != kInfinity) return false;
    before.binary.low = u.a;
    before.binary.high = u.b;
    return true;
  }

  void add_binary(const Node& node, Binary function, int previous) {
    Link link;
    link.is_unary = false;
    link.binary.op = function;
    link.binary.low = -kInfinity;
    link.binary.high = kInfinity;
    link.a = array_of(node.inputs[0], previous);
    link.b = array_of(node.inputs[1], previous);
    if (function == Binary::pow) note_one_by_one(node);
    links_.push_back(link);
  }

  void note_one_by_one(const Node& node) { note_ = node.op + " one element at a time, through the C library"; }

  Build& b_;
  std::vector<Link> links_;
  std::vector<Slot> slots_;
  std::vector<Shape> shapes_;
  std::string note_;
};

// The values that a node's function is of: the bounds of a Clip are parameters.
std::span<const int> operands_of(const Node& node) { return std::span(node.inputs).first(unary_of(node) ? 1 : 2); }

}  // namespace

bool ChainRule::starts(const Node& node) const {
  const auto info = [&](int value) -> const ValueInfo& { return infos[static_cast<size_t>(value)]; };
  if (node.outputs.size() != 1 || (!unary_of(node) && !binary_of(node))) return false;
  const std::span<const int> read = operands_of(node);
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (!node.has_input(i)) continue;
    if (info(node.inputs[i]).dtype != DType::float32) return false;
    if (i >= read.size() && !info(node.inputs[i]).known) return false;  // a bound that only running tells
  }
  return true;
}

bool ChainRule::continues(std::span<const Node* const> before, const Node& node) const {
  const auto shape = [&](int value) -> const Shape& { return infos[static_cast<size_t>(value)].shape; };
  const Shape& out = shape(before[0]->outputs[0]);
  if (!starts(node) || shape(node.outputs[0]) != out) return false;
  std::vector<Shape> arrays;
  const auto row_with = [&](const Node& next) {
    for (const int value : operands_of(next)) arrays.push_back(shape(value));
    return Rows(out, arrays).length();
  };
  int64_t row = 0;
  for (const Node* each : before) row = row_with(*each);
  return row_with(node) >= std::min(kShortestRow, row);
}

Step build_element_chain(Build& b) { return ChainBuilder(b).step(); }

}  // namespace gossamer
