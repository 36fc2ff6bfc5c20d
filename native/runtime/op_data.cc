// Operators that move elements: Transpose, Concat, Split, Slice, Gather, Expand, Tile.
#include <cstring>

#include "runtime/coded_weight.h"
#include "runtime/errors.h"
#include "runtime/op.h"
#include "runtime/move.h"

namespace gossamer {
namespace {

size_t axis_of(const Node& node, const Shape& x, int64_t otherwise) {
  return static_cast<size_t>(wrap_axis(node.integer("axis", otherwise), static_cast<int64_t>(x.size()), node));
}

// --- Transpose -----------------------------------------------------------------------------------------------------------

std::vector<size_t> permutation(const Node& node, size_t rank) {
  std::vector<size_t> order;
  for (const int64_t axis : node.integers("perm")) {
    order.push_back(static_cast<size_t>(wrap_axis(axis, static_cast<int64_t>(rank), node)));
  }
  for (size_t d = 0; order.size() < rank && d < rank && !node.find("perm"); ++d) order.push_back(rank - 1 - d);
  std::vector<bool> seen(rank, false);
  for (const size_t axis : order) seen[axis] = true;
  for (const bool one : seen) {
    if (!one || order.size() != rank) throw ShapeError(node.label() + ": 'perm' is not a permutation of the dimensions");
  }
  return order;
}

void infer_transpose(Inference& n) {
  Shape out;
  for (const size_t axis : permutation(n.node, n.shape(0).size())) out.push_back(n.shape(0)[axis]);
  n.outputs = {out};
}

Step build_transpose(Build& b) {
  const Shape strides = row_major(b.shape(0));
  Shape from;
  for (const size_t axis : permutation(b.node, b.shape(0).size())) from.push_back(strides[axis]);
  return move_step(b, move(b.out_shape(), row_major(b.out_shape()), from));
}

// --- Concat, Split -------------------------------------------------------------------------------------------------------

std::vector<DType> same_types(const Node& node, const Types& inputs) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i]) throw ModelError(node.label() + ": input " + std::to_string(i) + " is absent");
    if (inputs[i] != inputs[0]) reject_type(node, i, *inputs[i], std::string(dtype_name(*inputs[0])) + ", as the first input");
  }
  return {*inputs[0]};
}

void infer_concat(Inference& n) {
  Shape out = n.shape(0);
  const size_t axis = axis_of(n.node, out, 0);
  for (size_t i = 1; i < n.inputs.size(); ++i) {
    Shape other = n.shape(i);
    if (other.size() != out.size()) n.fail("inputs " + shape_text(out) + " and " + shape_text(other));
    out[axis] += other[axis];
    other[axis] = out[axis];
    if (other != out) n.fail("inputs differ in another dimension than " + std::to_string(axis));
  }
  n.outputs = {out};
}

Step build_concat(Build& b) {
  const size_t axis = axis_of(b.node, b.out_shape(), 0);
  const Shape strides = row_major(b.out_shape());
  const int64_t size = dtype_size(b.inputs[0]->dtype);
  std::vector<Move> moves;
  std::vector<Slot> sources;
  int64_t offset = 0;
  for (size_t i = 0; i < b.inputs.size(); ++i) {
    const Shape& x = b.shape(i);
    if (element_count(x) > 0) {
      moves.push_back(move(x, strides, row_major(x)));
      moves.back().to_offset = offset * strides[axis];
      sources.push_back(b.in(i));
    }
    offset += x[axis];
  }
  return {[=, y = b.out()](const Run& run) {
            for (size_t i = 0; i < moves.size(); ++i) {
              run_move(moves[i], size, run.at<std::byte>(sources[i]), run.at<std::byte>(y));
            }
          },
          "strided copy", ""};
}

std::vector<DType> split_types(const Node& node, const Types& inputs) {
  return std::vector<DType>(node.outputs.size(), *inputs[0]);
}

void infer_split(Inference& n) {
  const Shape& x = n.shape(0);
  const size_t axis = axis_of(n.node, x, 0);
  const auto parts = static_cast<int64_t>(n.node.outputs.size());
  std::vector<int64_t> sizes = n.has(1) ? n.integers(1) : n.node.integers("split");
  if (sizes.empty()) {
    const int64_t even = (x[axis] + parts - 1) / parts;
    for (int64_t i = 0, left = x[axis]; i < parts; ++i, left -= even) sizes.push_back(left < 0 ? 0 : left < even ? left : even);
  }
  int64_t left = x[axis];
  for (const int64_t size : sizes) {
    if (size < 0 || size > left) n.fail("the parts do not add up to the dimension");
    left -= size;
    Shape part = x;
    part[axis] = size;
    n.outputs.push_back(part);
  }
  if (static_cast<int64_t>(sizes.size()) != parts || left != 0) n.fail("the parts do not add up to the dimension");
}

Step build_split(Build& b) {
  const size_t axis = axis_of(b.node, b.shape(0), 0);
  const Shape strides = row_major(b.shape(0));
  const int64_t size = dtype_size(b.inputs[0]->dtype);
  std::vector<Move> moves;
  std::vector<Slot> places;
  int64_t offset = 0;
  for (size_t i = 0; i < b.node.outputs.size(); ++i) {
    if (b.node.outputs[i] == kAbsent) continue;
    const Shape& part = b.out_shape(i);
    if (element_count(part) > 0) {
      moves.push_back(move(part, row_major(part), strides));
      moves.back().from_offset = offset * strides[axis];
      places.push_back(b.slot_of(b.node.outputs[i]));
    }
    offset += part[axis];
  }
  return {[=, x = b.in(0)](const Run& run) {
            for (size_t i = 0; i < moves.size(); ++i) {
              run_move(moves[i], size, run.at<std::byte>(x), run.at<std::byte>(places[i]));
            }
          },
          "strided copy", ""};
}

// --- Slice ---------------------------------------------------------------------------------------------------------------

struct Cut {
  int64_t start = 0, step = 1, count = 0;
};

Cut cut(int64_t start, int64_t end, int64_t step, int64_t size) {
  const int64_t low = step > 0 ? 0 : -1, high = step > 0 ? size : size - 1;
  const auto bound = [&](int64_t at) {
    if (at < 0) at = at < -size ? -1 : at + size;
    return at < low ? low : at > high ? high : at;
  };
  const int64_t first = bound(start), behind = bound(end);
  const int64_t room = step > 0 ? behind - first : first - behind;
  const int64_t stride = step > 0 ? step : (step == INT64_MIN ? INT64_MAX : -step);
  return {first, step, room > 0 ? (room - 1) / stride + 1 : 0};
}

// The cut of every dimension. integers(i): input i (opset 10 and later), else the attribute of that name.
template <class Integers>
std::vector<Cut> cuts_of(const Node& node, const Shape& x, const Integers& integers) {
  const std::vector<int64_t> starts = integers(1, "starts"), ends = integers(2, "ends");
  std::vector<int64_t> axes = integers(3, "axes"), steps = integers(4, "steps");
  for (size_t i = axes.size(); i < starts.size(); ++i) axes.push_back(static_cast<int64_t>(i));
  steps.resize(starts.size(), 1);
  if (ends.size() != starts.size() || axes.size() != starts.size()) {
    throw ShapeError(node.label() + ": starts, ends and axes differ in length");
  }
  std::vector<Cut> cuts;
  for (const int64_t size : x) cuts.push_back({0, 1, size});
  for (size_t i = 0; i < starts.size(); ++i) {
    const auto d = static_cast<size_t>(wrap_axis(axes[i], static_cast<int64_t>(x.size()), node));
    if (steps[i] == 0) throw ShapeError(node.label() + ": a step is zero");
    cuts[d] = cut(starts[i], ends[i], steps[i], x[d]);
  }
  return cuts;
}

void infer_slice(Inference& n) {
  const auto integers = [&](size_t i, const char* name) { return n.has(i) ? n.integers(i) : n.node.integers(name); };
  Shape out;
  for (const Cut& c : cuts_of(n.node, n.shape(0), integers)) out.push_back(c.count);
  n.outputs = {out};
}

std::vector<int64_t> known_integers(const Build& b, size_t i) {
  return Inference{b.node, b.model.opset, b.inputs, {}}.integers(i);
}

Step build_slice(Build& b) {
  const auto integers = [&](size_t i, const char* name) { return b.has(i) ? known_integers(b, i) : b.node.integers(name); };
  const std::vector<Cut> cuts = cuts_of(b.node, b.shape(0), integers);
  const Shape strides = row_major(b.shape(0));
  Shape from;
  int64_t offset = 0;
  for (size_t d = 0; d < cuts.size(); ++d) {
    from.push_back(cuts[d].count > 1 ? strides[d] * cuts[d].step : strides[d]);
    offset += strides[d] * cuts[d].start;
  }
  Move m = move(b.out_shape(), row_major(b.out_shape()), from);
  m.from_offset = offset;
  return move_step(b, m);
}

// --- Gather --------------------------------------------------------------------------------------------------------------

std::vector<DType> gather_types(const Node& node, const Types& inputs) {
  if (inputs[1] != DType::int64 && inputs[1] != DType::int32) reject_type(node, 1, *inputs[1], "int64 and int32");
  return {*inputs[0]};
}

void infer_gather(Inference& n) {
  const Shape &x = n.shape(0), &index = n.shape(1);
  const size_t axis = axis_of(n.node, x, 0);
  Shape out(x.begin(), x.begin() + static_cast<int64_t>(axis));
  out.insert(out.end(), index.begin(), index.end());
  out.insert(out.end(), x.begin() + static_cast<int64_t>(axis) + 1, x.end());
  if (x[axis] == 0 && element_count(out) > 0) n.fail("it gathers from an empty dimension");
  n.outputs = {out};
}

// An index out of range is an error of the data; it may only be found while running.
int64_t row_of(int64_t index, int64_t size, const std::string& label) {
  const int64_t at = index < 0 ? index + size : index;
  if (at < 0 || at >= size) {
    throw ShapeError(label + ": index " + std::to_string(index) + " is outside a dimension of " + std::to_string(size));
  }
  return at;
}

template <class Index>
Step gather_step(Build& b) {
  const Shape& x = b.shape(0);
  const size_t axis = axis_of(b.node, x, 0);
  const int64_t outer = product(x, 0, axis), size = x[axis], count = element_count(b.shape(1));
  const int64_t bytes = product(x, axis + 1, x.size()) * dtype_size(b.inputs[0]->dtype);
  return {[=, in = b.in(0), index = b.in(1), y = b.out(), label = b.node.label()](const Run& run) {
            const std::byte* from = run.at<std::byte>(in);
            std::byte* to = run.at<std::byte>(y);
            for (int64_t o = 0; o < outer; ++o) {
              for (int64_t i = 0; i < count; ++i, to += bytes) {
                const int64_t at = row_of(run.at<Index>(index)[i], size, label);
                std::memcpy(to, from + (o * size + at) * bytes, static_cast<size_t>(bytes));
              }
            }
          },
          "plain loop", ""};
}

// Rows of a table that stays compressed, decoded one by one. Indices are few beside the table.
template <class Index>
Step compressed_gather_step(Build& b) {
  const Shape& x = b.shape(0);
  const size_t axis = axis_of(b.node, x, 0);
  const int64_t outer = product(x, 0, axis), size = x[axis], count = element_count(b.shape(1)), inner = product(x, axis + 1, x.size());
  const Constant* table = b.constant(0);
  return {[=, index = b.in(1), y = b.out(), label = b.node.label()](const Run& run) {
            float* to = run.at<float>(y);
            for (int64_t o = 0; o < outer; ++o) {
              for (int64_t i = 0; i < count; ++i, to += inner) {
                decode_range(*table, (o * size + row_of(run.at<Index>(index)[i], size, label)) * inner, inner, to);
              }
            }
          },
          "rows decoded one by one", "", 0, compressed_bytes(*table)};
}

Step build_gather(Build& b) {
  if (const Constant* table = b.constant(0); table && table->is_compressed() && !table->dense.data) {
    return b.inputs[1]->dtype == DType::int64 ? compressed_gather_step<int64_t>(b) : compressed_gather_step<int32_t>(b);
  }
  return b.inputs[1]->dtype == DType::int64 ? gather_step<int64_t>(b) : gather_step<int32_t>(b);
}

// --- Expand, Tile ------------------------------------------------------------------------------------------------------

std::vector<DType> with_integers(const Node& node, const Types& inputs) {
  if (inputs.size() > 1 && inputs[1] && inputs[1] != DType::int64) reject_type(node, 1, *inputs[1], "int64");
  return {*inputs[0]};
}

void infer_expand(Inference& n) { n.outputs = {broadcast(n.shape(0), n.integers(1), n.node)}; }

Step build_expand(Build& b) {
  return move_step(b, move(b.out_shape(), row_major(b.out_shape()), broadcast_strides(b.shape(0), b.out_shape())));
}

void infer_tile(Inference& n) {
  const std::vector<int64_t> repeats = n.integers(1);
  Shape out = n.shape(0);
  if (repeats.size() != out.size()) n.fail("'repeats' needs one number per dimension");
  for (size_t d = 0; d < out.size(); ++d) out[d] = element_count({out[d], repeats[d]});
  n.outputs = {out};
}

Step build_tile(Build& b) {  // dimension d becomes (repeats, size), of which the first is broadcast
  const Shape &x = b.shape(0), strides = row_major(x);
  Shape shape, from;
  for (size_t d = 0; d < x.size(); ++d) {
    shape.insert(shape.end(), {b.out_shape()[d] / x[d], x[d]});
    from.insert(from.end(), {0, strides[d]});
  }
  return move_step(b, move(shape, row_major(shape), from));
}

constexpr Operator kOperators[] = {
    {"Transpose", 1, 1, " perm ", first_type, infer_transpose, build_transpose},
    {"Concat", 1, -1, " axis ", same_types, infer_concat, build_concat},
    {"Split", 1, 2, " axis num_outputs split ", split_types, infer_split, build_split},
    {"Slice", 1, 5, " axes ends starts ", first_type, infer_slice, build_slice},
    {"Gather", 2, 2, " axis ", gather_types, infer_gather, build_gather},
    {"Expand", 2, 2, "", with_integers, infer_expand, build_expand},
    {"Tile", 2, 2, "", with_integers, infer_tile, build_tile},
};

}  // namespace

std::span<const Operator> data_operators() { return kOperators; }

}  // namespace gossamer
