// Operators that read or write where indices say: GatherElements, GatherND, ScatterElements, ScatterND, OneHot.
#include <algorithm>
#include <cstring>

#include "runtime/errors.h"
#include "runtime/loops.h"

namespace gossamer {
namespace {

bool is_index(std::optional<DType> type) { return type == DType::int64 || type == DType::int32; }

void require_index(const Node& node, const Types& inputs, size_t i) {
  if (!is_index(inputs[i])) reject_type(node, i, *inputs[i], "int64 and int32");
}

std::vector<DType> gather_types(const Node& node, const Types& inputs) {
  require_index(node, inputs, 1);
  return {*inputs[0]};
}

std::vector<DType> scatter_types(const Node& node, const Types& inputs) {
  require_index(node, inputs, 1);
  if (inputs[2] != inputs[0]) reject_type(node, 2, *inputs[2], std::string(dtype_name(*inputs[0])) + ", as the first input");
  return {*inputs[0]};
}

// An index in [-size, size) as one in [0, size). Out of range is an error of the data, found while running.
int64_t checked(int64_t index, int64_t size, const std::string& label) {
  if (index < -size || index >= size) {
    throw ShapeError(label + ": index " + std::to_string(index) + " is outside a dimension of " + std::to_string(size));
  }
  return index < 0 ? index + size : index;
}

// The indices of a run as int64, whichever type they have.
struct Indices {
  Slot slot;
  bool wide;
  int64_t at(const Run& run, int64_t i) const { return wide ? run.at<int64_t>(slot)[i] : run.at<int32_t>(slot)[i]; }
};

Indices indices_of(const Build& b, size_t i) { return {b.in(i), b.inputs[i]->dtype == DType::int64}; }

// --- GatherElements, ScatterElements ---------------------------------------------------------------------------------

size_t axis_of(const Node& node, const Shape& x) {
  return static_cast<size_t>(wrap_axis(node.integer("axis", 0), static_cast<int64_t>(x.size()), node));
}

void check_elements(const Inference& n) {
  const Shape &x = n.shape(0), &index = n.shape(1);
  const size_t axis = axis_of(n.node, x);
  bool fits = index.size() == x.size();
  for (size_t d = 0; fits && d < x.size(); ++d) fits = d == axis || index[d] <= x[d];
  if (!fits) n.fail("indices of shape " + shape_text(index) + " do not fit " + shape_text(x));
}

void infer_gather_elements(Inference& n) {
  check_elements(n);
  n.outputs = {n.shape(1)};
}

void infer_scatter_elements(Inference& n) {
  check_elements(n);
  if (n.shape(2) != n.shape(1)) n.fail("indices and updates differ in shape");
  n.outputs = {n.shape(0)};
}

// Walks the indices; offsets into the data are those of index 0 along the axis.
struct ElementWalk {
  Walk walk;  // over (indices, data)
  int64_t size, stride;  // of the axis of the data
};

ElementWalk element_walk(const Build& b) {
  const Shape &x = b.shape(0), &index = b.shape(1);
  const size_t axis = axis_of(b.node, x);
  Shape strides = row_major(x);
  const int64_t stride = strides[axis];
  strides[axis] = 0;
  return {make_walk(index, row_major(index), strides, strides), x[axis], stride};
}

Step build_gather_elements(Build& b) {
  const ElementWalk e = element_walk(b);
  return with_bits(b.inputs[0]->dtype, [&]<class T>(T) -> Step {
    return {[=, x = b.in(0), index = indices_of(b, 1), y = b.out(), label = b.node.label()](const Run& run) {
              e.walk.each_run([&](int64_t i, int64_t from, int64_t) {
                for (int64_t k = 0; k < e.walk.inner(); ++k) {
                  const int64_t place = i + k * e.walk.inner_stride(0);
                  const int64_t at = checked(index.at(run, place), e.size, label);
                  run.at<T>(y)[place] = run.at<T>(x)[from + k * e.walk.inner_stride(1) + at * e.stride];
                }
              });
            },
            "plain loop", ""};
  });
}

// --- what is done to an element that is there already ---------------------------------------------------------------

enum class Update { set, add, mul, max, min };

Update update_of(const Node& node) {
  const std::string name = node.text("reduction", "none");
  constexpr const char* kNames[] = {"none", "add", "mul", "max", "min"};
  for (int i = 0; i < 5; ++i) {
    if (name == kNames[i]) return static_cast<Update>(i);
  }
  throw ModelError(node.label() + ": reduction '" + name + "'");
}

template <class T>
void update(Update how, T& place, T value) {
  using W = std::conditional_t<kIsReal<T>, Wide<T>, uint64_t>;  // integers wrap around
  switch (how) {
    case Update::set: place = value; break;
    case Update::add: place = static_cast<T>(static_cast<W>(place) + static_cast<W>(value)); break;
    case Update::mul: place = static_cast<T>(static_cast<W>(place) * static_cast<W>(value)); break;
    case Update::max: place = value > place ? value : place; break;
    case Update::min: place = value < place ? value : place; break;
  }
}

void copy_first(const Run& run, Slot x, Slot y, int64_t bytes) {
  std::memcpy(run.at<std::byte>(y), run.at<std::byte>(x), static_cast<size_t>(bytes));
}

int64_t bytes_of(const ValueInfo& info) { return element_count(info.shape) * dtype_size(info.dtype); }

Step build_scatter_elements(Build& b) {
  const ElementWalk e = element_walk(b);
  const bool nothing = element_count(b.shape(1)) == 0;
  return with_type(b.inputs[0]->dtype, [&]<class T>(T) -> Step {
    return {[=, how = update_of(b.node), bytes = bytes_of(*b.inputs[0]), x = b.in(0), index = indices_of(b, 1), from = b.in(2),
             y = b.out(), label = b.node.label()](const Run& run) {
              copy_first(run, x, y, bytes);
              if (nothing) return;
              e.walk.each_run([&](int64_t i, int64_t to, int64_t) {
                for (int64_t k = 0; k < e.walk.inner(); ++k) {
                  const int64_t place = i + k * e.walk.inner_stride(0);
                  const int64_t at = checked(index.at(run, place), e.size, label);
                  update(how, run.at<T>(y)[to + k * e.walk.inner_stride(1) + at * e.stride], run.at<T>(from)[place]);
                }
              });
            },
            "plain loop", ""};
  });
}

// --- GatherND, ScatterND -----------------------------------------------------------------------------------------------

// Every row of `depth` indices names a slice of `slice` elements; `batch` dimensions in front are shared.
struct Slices {
  int64_t batches = 1, rows = 1, depth = 0, slice = 1, batch_elements = 1;
  Shape sizes, strides;  // of the indexed dimensions

  int64_t offset(const Run& run, const Indices& indices, int64_t row, const std::string& label) const {
    int64_t at = 0;
    for (int64_t d = 0; d < depth; ++d) {
      at += checked(indices.at(run, row * depth + d), sizes[static_cast<size_t>(d)], label) * strides[static_cast<size_t>(d)];
    }
    return at;
  }
};

Slices slices_of(const Node& node, const Shape& x, const Shape& index) {
  const int64_t batch = node.integer("batch_dims", 0);
  const auto shared = static_cast<size_t>(batch < 0 ? 0 : batch);
  if (batch < 0 || index.empty() || shared >= index.size() || shared > x.size() || index.back() > static_cast<int64_t>(x.size() - shared)) {
    throw ShapeError(node.label() + ": indices of shape " + shape_text(index) + " do not fit " + shape_text(x) + ", batch_dims = " + std::to_string(batch));
  }
  for (size_t d = 0; d < shared; ++d) {
    if (x[d] != index[d]) throw ShapeError(node.label() + ": batch dimensions differ");
  }
  Slices s;
  s.depth = index.back();
  const size_t end = shared + static_cast<size_t>(s.depth);
  s.batches = product(x, 0, shared);
  s.rows = product(index, shared, index.size() - 1);
  s.slice = product(x, end, x.size());
  s.batch_elements = product(x, shared, x.size());
  const Shape strides = row_major(x);
  s.sizes.assign(x.begin() + batch, x.begin() + static_cast<int64_t>(end));
  s.strides.assign(strides.begin() + batch, strides.begin() + static_cast<int64_t>(end));
  return s;
}

void infer_gather_nd(Inference& n) {
  const Shape &x = n.shape(0), &index = n.shape(1);
  const Slices s = slices_of(n.node, x, index);
  Shape out(index.begin(), index.end() - 1);
  out.insert(out.end(), x.begin() + n.node.integer("batch_dims", 0) + s.depth, x.end());
  n.outputs = {out};
}

Step build_gather_nd(Build& b) {
  const Slices s = slices_of(b.node, b.shape(0), b.shape(1));
  const int64_t size = dtype_size(b.inputs[0]->dtype);
  return {[=, x = b.in(0), index = indices_of(b, 1), y = b.out(), label = b.node.label()](const Run& run) {
            for (int64_t row = 0; row < s.batches * s.rows; ++row) {
              const int64_t from = row / s.rows * s.batch_elements + s.offset(run, index, row, label);
              std::memcpy(run.at<std::byte>(y) + row * s.slice * size, run.at<std::byte>(x) + from * size, static_cast<size_t>(s.slice * size));
            }
          },
          "plain loop", ""};
}

void infer_scatter_nd(Inference& n) {
  const Slices s = slices_of(n.node, n.shape(0), n.shape(1));
  Shape wanted(n.shape(1).begin(), n.shape(1).end() - 1);
  wanted.insert(wanted.end(), n.shape(0).begin() + s.depth, n.shape(0).end());
  if (n.shape(2) != wanted) n.fail("updates have shape " + shape_text(n.shape(2)) + ", where " + shape_text(wanted) + " is due");
  n.outputs = {n.shape(0)};
}

Step build_scatter_nd(Build& b) {
  const Slices s = slices_of(b.node, b.shape(0), b.shape(1));
  return with_type(b.inputs[0]->dtype, [&]<class T>(T) -> Step {
    return {[=, how = update_of(b.node), bytes = bytes_of(*b.inputs[0]), x = b.in(0), index = indices_of(b, 1), from = b.in(2),
             y = b.out(), label = b.node.label()](const Run& run) {
              copy_first(run, x, y, bytes);
              for (int64_t row = 0; row < s.rows; ++row) {
                T* to = run.at<T>(y) + s.offset(run, index, row, label);
                for (int64_t i = 0; i < s.slice; ++i) update(how, to[i], run.at<T>(from)[row * s.slice + i]);
              }
            },
            "plain loop", ""};
  });
}

// --- OneHot --------------------------------------------------------------------------------------------------------------

std::vector<DType> one_hot_types(const Node& node, const Types& inputs) {
  for (size_t i = 0; i < 2; ++i) {
    if (inputs[i] == DType::boolean) reject_type(node, i, *inputs[i], "numbers");
  }
  return {*inputs[2]};
}

// The number of classes, of any type.
int64_t depth_of(const Inference& n) {
  const ValueInfo& info = *n.inputs[1];
  if (!info.known) throw NeedsContent(n.node.label() + ": the depth depends on what the network is given", n.node.inputs[1]);
  if (element_count(info.shape) != 1) n.fail("the depth is not one number");
  return with_type(info.dtype, [&]<class T>(T) { return converted<int64_t>(*reinterpret_cast<const T*>(info.known)); });
}

size_t hot_axis(const Node& node, const Shape& index) {
  return static_cast<size_t>(wrap_axis(node.integer("axis", -1), static_cast<int64_t>(index.size()) + 1, node));
}

void infer_one_hot(Inference& n) {
  const int64_t depth = depth_of(n);
  if (depth < 0) n.fail("the depth is negative");
  if (element_count(n.shape(2)) != 2) n.fail("'values' is not two numbers");
  Shape out = n.shape(0);
  out.insert(out.begin() + static_cast<int64_t>(hot_axis(n.node, out)), depth);
  n.outputs = {out};
}

Step build_one_hot(Build& b) {
  const size_t axis = hot_axis(b.node, b.shape(0));
  const int64_t depth = b.out_shape()[axis], inner = product(b.out_shape(), axis + 1, b.out_shape().size());
  const int64_t count = element_count(b.shape(0)), all = element_count(b.out_shape());
  return with_type(b.inputs[0]->dtype, [&]<class I>(I) {
    return with_bits(b.inputs[2]->dtype, [&]<class T>(T) -> Step {
      return {[=, index = b.in(0), values = b.in(2), y = b.out()](const Run& run) {
                T* to = run.at<T>(y);
                std::fill_n(to, all, run.at<T>(values)[0]);
                for (int64_t i = 0; i < count; ++i) {
                  int64_t at = converted<int64_t>(run.at<I>(index)[i]);
                  if (at < 0) at += depth;
                  if (at >= 0 && at < depth) to[(i / inner * depth + at) * inner + i % inner] = run.at<T>(values)[1];
                }
              },
              "plain loop", ""};
    });
  });
}

constexpr Operator kOperators[] = {
    {"GatherElements", 2, 2, " axis ", gather_types, infer_gather_elements, build_gather_elements},
    {"GatherND", 2, 2, " batch_dims ", gather_types, infer_gather_nd, build_gather_nd},
    {"ScatterElements", 3, 3, " axis reduction ", scatter_types, infer_scatter_elements, build_scatter_elements},
    {"ScatterND", 3, 3, " reduction ", scatter_types, infer_scatter_nd, build_scatter_nd},
    {"OneHot", 3, 3, " axis ", one_hot_types, infer_one_hot, build_one_hot},
};

}  // namespace

std::span<const Operator> index_operators() { return kOperators; }

}  // namespace gossamer
