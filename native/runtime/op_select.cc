// Operators that choose, order or accumulate elements: TopK, NonZero, Compress, CumSum, Trilu, EyeLike, ReverseSequence.
#include <algorithm>
#include <cstring>
#include <numeric>

#include "runtime/errors.h"
#include "runtime/loops.h"

namespace gossamer {
namespace {

size_t axis_of(const Node& node, const Shape& x, int64_t otherwise) {
  return static_cast<size_t>(wrap_axis(node.integer("axis", otherwise), static_cast<int64_t>(x.size()), node));
}

// An array as outer x n x inner around one dimension.
struct Lines {
  int64_t outer, n, inner;
  Lines(const Shape& x, size_t axis) : outer(product(x, 0, axis)), n(x[axis]), inner(product(x, axis + 1, x.size())) {}
  int64_t begin(int64_t line) const { return line / inner * n * inner + line % inner; }
};

// --- TopK ----------------------------------------------------------------------------------------------------------------

std::vector<DType> top_types(const Node& node, const Types& inputs) {
  if (inputs[0] == DType::boolean) reject_type(node, 0, *inputs[0], "numbers");
  if (inputs.size() > 1 && inputs[1] && inputs[1] != DType::int64) reject_type(node, 1, *inputs[1], "int64");
  return {*inputs[0], DType::int64};
}

void infer_top(Inference& n) {
  Shape out = n.shape(0);
  const size_t axis = axis_of(n.node, out, -1);
  const std::vector<int64_t> k = n.has(1) ? n.integers(1) : std::vector<int64_t>{n.node.integer("k", -1)};
  if (k.size() != 1 || k[0] < 0 || k[0] > out[axis]) n.fail("k does not fit a dimension of " + std::to_string(out[axis]));
  out[axis] = k[0];
  n.outputs = {out, out};
}

// Whether value a goes before b: NaN counts as the largest, equal values go by their places.
template <class T>
bool before(T a, T b, bool largest) {
  if (a != a || b != b) return largest ? a != a && b == b : a == a && b != b;
  return largest ? a > b : a < b;
}

template <class T>
Step top_step(Build& b) {
  const size_t axis = axis_of(b.node, b.shape(0), -1);
  const Lines lines(b.shape(0), axis);
  const int64_t k = (b.outputs[0] ? b.out_shape(0) : b.out_shape(1))[axis];
  const bool largest = b.node.integer("largest", 1) != 0;
  const Slot values = b.outputs[0] ? b.out(0) : kNoSlot;
  const Slot places = b.outputs.size() > 1 && b.outputs[1] ? b.slot_of(b.node.outputs[1]) : kNoSlot;
  const Slot order = b.scratch(lines.n * 8);
  return {[=, x = b.in(0)](const Run& run) {
            int64_t* ranked = run.at<int64_t>(order);
            for (int64_t line = 0; line < lines.outer * lines.inner; ++line) {
              const T* from = run.at<T>(x) + lines.begin(line);
              std::iota(ranked, ranked + lines.n, 0);
              std::partial_sort(ranked, ranked + k, ranked + lines.n, [&](int64_t i, int64_t j) {
                const T a = from[i * lines.inner], c = from[j * lines.inner];
                return before(a, c, largest) || (!before(c, a, largest) && i < j);
              });
              const int64_t to = line / lines.inner * k * lines.inner + line % lines.inner;
              for (int64_t i = 0; i < k; ++i) {
                if (values != kNoSlot) run.at<T>(values)[to + i * lines.inner] = from[ranked[i] * lines.inner];
                if (places != kNoSlot) run.at<int64_t>(places)[to + i * lines.inner] = ranked[i];
              }
            }
          },
          "plain loop", ""};
}

Step build_top(Build& b) {
  return with_type(b.inputs[0]->dtype, [&]<class T>(T) { return top_step<T>(b); });
}

// --- NonZero, Compress: their shapes are their input's content ------------------------------------------------------

template <class T>
int64_t count_nonzero(const std::byte* data, int64_t count) {
  const T* values = reinterpret_cast<const T*>(data);
  return std::count_if(values, values + count, [](T x) { return x != T{0}; });
}

int64_t nonzero_count(const Inference& n, size_t i, int64_t most) {
  const ValueInfo& info = *n.inputs[i];
  if (!info.known) throw NeedsContent(n.node.label() + ": the size of its output depends on what the network is given", n.node.inputs[i]);
  const int64_t count = std::min(element_count(info.shape), most);
  return with_type(info.dtype, [&]<class T>(T) { return count_nonzero<T>(info.known, count); });
}

void infer_nonzero(Inference& n) {
  n.outputs = {{static_cast<int64_t>(n.shape(0).size()), nonzero_count(n, 0, kMaxElements)}};
}

Step build_nonzero(Build& b) {
  const Shape x = b.shape(0), strides = row_major(x);
  const int64_t count = element_count(x), found = b.out_shape()[1];
  return with_type(b.inputs[0]->dtype, [&]<class T>(T) -> Step {
    return {[=, in = b.in(0), y = b.out()](const Run& run) {
              for (int64_t i = 0, next = 0; i < count && next < found; ++i) {
                if (run.at<T>(in)[i] == T{0}) continue;
                for (size_t d = 0; d < x.size(); ++d) run.at<int64_t>(y)[static_cast<int64_t>(d) * found + next] = i / strides[d] % x[d];
                ++next;
              }
            },
            "plain loop", ""};
  });
}

std::vector<DType> compress_types(const Node& node, const Types& inputs) {
  if (inputs[1] != DType::boolean) reject_type(node, 1, *inputs[1], "bool");
  return {*inputs[0]};
}

// Without an axis the input is one line.
Shape compressed_shape(const Node& node, const Shape& x) { return node.find("axis") ? x : Shape{element_count(x)}; }

void infer_compress(Inference& n) {
  Shape out = compressed_shape(n.node, n.shape(0));
  const size_t axis = axis_of(n.node, out, 0);
  if (n.shape(1).size() != 1) n.fail("the condition has shape " + shape_text(n.shape(1)));
  out[axis] = nonzero_count(n, 1, out[axis]);
  n.outputs = {out};
}

Step build_compress(Build& b) {
  const Shape x = compressed_shape(b.node, b.shape(0));
  const size_t axis = axis_of(b.node, x, 0);
  const Lines lines(x, axis);
  const int64_t bytes = lines.inner * dtype_size(b.inputs[0]->dtype), asked = std::min(lines.n, b.shape(1)[0]);
  return {[=, in = b.in(0), chosen = b.in(1), y = b.out()](const Run& run) {
            std::byte* to = run.at<std::byte>(y);
            for (int64_t o = 0; o < lines.outer; ++o) {
              for (int64_t i = 0; i < asked; ++i) {
                if (!run.at<uint8_t>(chosen)[i]) continue;
                std::memcpy(to, run.at<std::byte>(in) + (o * lines.n + i) * bytes, static_cast<size_t>(bytes));
                to += bytes;
              }
            }
          },
          "plain loop", ""};
}

// --- CumSum --------------------------------------------------------------------------------------------------------------

std::vector<DType> cumulative_types(const Node& node, const Types& inputs) {
  if (inputs[0] == DType::boolean) reject_type(node, 0, *inputs[0], "numbers");
  if (inputs[1] != DType::int64 && inputs[1] != DType::int32) reject_type(node, 1, *inputs[1], "int64 and int32");
  return {*inputs[0]};
}

size_t cumulative_axis(const Inference& n) {
  const std::vector<int64_t> axis = n.integers(1);
  if (axis.size() != 1) n.fail("the axis is not one number");
  return static_cast<size_t>(wrap_axis(axis[0], static_cast<int64_t>(n.shape(0).size()), n.node));
}

void infer_cumulative(Inference& n) {
  cumulative_axis(n);
  infer_same(n);
}

template <class T>
Step cumulative_step(Build& b, const Lines& lines) {
  using Sum = std::conditional_t<kIsReal<T>, double, uint64_t>;
  const bool exclusive = b.node.integer("exclusive", 0) != 0, reverse = b.node.integer("reverse", 0) != 0;
  return {[=, x = b.in(0), y = b.out()](const Run& run) {
            for (int64_t line = 0; line < lines.outer * lines.inner; ++line) {
              const T* from = run.at<T>(x) + lines.begin(line);
              T* to = run.at<T>(y) + lines.begin(line);
              Sum sum = 0;
              for (int64_t k = 0; k < lines.n; ++k) {
                const int64_t at = (reverse ? lines.n - 1 - k : k) * lines.inner;
                const Sum next = static_cast<Sum>(sum + static_cast<Sum>(from[at]));
                to[at] = static_cast<T>(exclusive ? sum : next);
                sum = next;
              }
            }
          },
          "plain loop", ""};
}

Step build_cumulative(Build& b) {
  const Lines lines(b.shape(0), cumulative_axis(Inference{b.node, b.model.opset, b.inputs, {}}));
  return with_type(b.inputs[0]->dtype, [&]<class T>(T) { return cumulative_step<T>(b, lines); });
}

// --- Trilu, EyeLike --------------------------------------------------------------------------------------------------------

std::vector<DType> trilu_types(const Node& node, const Types& inputs) {
  if (inputs.size() > 1 && inputs[1] && inputs[1] != DType::int64) reject_type(node, 1, *inputs[1], "int64");
  return {*inputs[0]};
}

void infer_trilu(Inference& n) {
  if (n.shape(0).size() < 2) n.fail("input " + shape_text(n.shape(0)) + " is no matrix");
  if (n.has(1) && element_count(n.shape(1)) != 1) n.fail("k is not one number");
  infer_same(n);
}

Step build_trilu(Build& b) {
  const Shape& x = b.shape(0);
  const int64_t rows = x[x.size() - 2], columns = x.back(), all = element_count(x);
  const bool upper = b.node.integer("upper", 1) != 0;
  return with_bits(b.inputs[0]->dtype, [&]<class T>(T) -> Step {
    return {[=, in = b.in(0), diagonal = b.in(1), y = b.out()](const Run& run) {
              const int64_t given = diagonal == kNoSlot ? 0 : *run.at<int64_t>(diagonal);
              const int64_t k = std::clamp(given, -rows - 1, columns + 1);
              for (int64_t i = 0; i < all; ++i) {
                const int64_t above = i % columns - i / columns % rows;  // diagonals over the main one
                run.at<T>(y)[i] = (upper ? above >= k : above <= k) ? run.at<T>(in)[i] : T{0};
              }
            },
            "plain loop", ""};
  });
}

std::vector<DType> eye_types(const Node& node, const Types& inputs) {
  const int64_t number = node.integer("dtype", 0);
  if (!number) return {*inputs[0]};
  if (const auto type = dtype_from_onnx(number)) return {*type};
  throw Unsupported(node.label() + ": dtype is ONNX type number " + std::to_string(number));
}

void infer_eye(Inference& n) {
  if (n.shape(0).size() != 2) n.fail("input " + shape_text(n.shape(0)) + " is no matrix");
  infer_same(n);
}

Step build_eye(Build& b) {
  const int64_t rows = b.out_shape()[0], columns = b.out_shape()[1];
  const int64_t k = std::clamp(b.node.integer("k", 0), -rows, columns);
  return with_type(b.outputs[0]->dtype, [&]<class T>(T) -> Step {
    return {[=, y = b.out()](const Run& run) {
              for (int64_t i = 0; i < rows * columns; ++i) run.at<T>(y)[i] = static_cast<T>(i % columns - i / columns == k);
            },
            "plain loop", ""};
  });
}

// --- ReverseSequence -------------------------------------------------------------------------------------------------------

void infer_reverse(Inference& n) {
  const Shape& x = n.shape(0);
  const int64_t time = n.node.integer("time_axis", 0), batch = n.node.integer("batch_axis", 1);
  if (x.size() < 2 || time + batch != 1 || time < 0 || time > 1) n.fail("time_axis and batch_axis must be 0 and 1 in some order");
  if (n.shape(1) != Shape{x[static_cast<size_t>(batch)]}) n.fail("sequence_lens has shape " + shape_text(n.shape(1)));
  infer_same(n);
}

std::vector<DType> reverse_types(const Node& node, const Types& inputs) {
  if (inputs[1] != DType::int64) reject_type(node, 1, *inputs[1], "int64");
  return {*inputs[0]};
}

Step build_reverse(Build& b) {
  const Shape& x = b.shape(0);
  const bool time_first = b.node.integer("time_axis", 0) == 0;
  const int64_t times = x[time_first ? 0 : 1], batch = x[time_first ? 1 : 0];
  const int64_t bytes = product(x, 2, x.size()) * dtype_size(b.inputs[0]->dtype);
  return {[=, in = b.in(0), lengths = b.in(1), y = b.out(), label = b.node.label()](const Run& run) {
            for (int64_t n = 0; n < batch; ++n) {
              const int64_t length = run.at<int64_t>(lengths)[n];
              if (length < 0 || length > times) throw ShapeError(label + ": a sequence of " + std::to_string(length) + " steps");
              for (int64_t t = 0; t < times; ++t) {
                const int64_t from = t < length ? length - 1 - t : t;
                const auto place = [&](int64_t at) { return (time_first ? at * batch + n : n * times + at) * bytes; };
                std::memcpy(run.at<std::byte>(y) + place(t), run.at<std::byte>(in) + place(from), static_cast<size_t>(bytes));
              }
            }
          },
          "plain loop", ""};
}

constexpr Operator kOperators[] = {
    {"TopK", 1, 2, " axis k largest sorted ", top_types, infer_top, build_top},
    {"NonZero", 1, 1, "", index_types, infer_nonzero, build_nonzero},
    {"Compress", 2, 2, " axis ", compress_types, infer_compress, build_compress},
    {"CumSum", 2, 2, " exclusive reverse ", cumulative_types, infer_cumulative, build_cumulative},
    {"Trilu", 1, 2, " upper ", trilu_types, infer_trilu, build_trilu},
    {"EyeLike", 1, 1, " dtype k ", eye_types, infer_eye, build_eye},
    {"ReverseSequence", 2, 2, " batch_axis time_axis ", reverse_types, infer_reverse, build_reverse},
};

}  // namespace

std::span<const Operator> select_operators() { return kOperators; }

}  // namespace gossamer
