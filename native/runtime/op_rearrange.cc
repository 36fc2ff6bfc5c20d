// Pad in all its modes, DepthToSpace and SpaceToDepth.
#include <cstring>

#include "runtime/errors.h"
#include "runtime/move.h"
#include "runtime/types.h"

namespace gossamer {
namespace {

// --- Pad -----------------------------------------------------------------------------------------------------------------

constexpr int64_t kMostRepeated = 1 << 24;  // coordinates whose sources are written down

struct Padding {
  std::vector<int64_t> begin, end;  // may be negative
};

std::vector<int64_t> integers_of(const Inference& n, size_t i, const char* name) {
  return n.has(i) ? n.integers(i) : n.node.integers(name);
}

Padding padding_of(const Inference& n) {
  const Shape& x = n.shape(0);
  const std::vector<int64_t> pads = integers_of(n, 1, "pads");
  std::vector<int64_t> axes = integers_of(n, 3, "axes");
  for (size_t d = axes.size(); !n.has(3) && d < x.size(); ++d) axes.push_back(static_cast<int64_t>(d));
  if (pads.size() != 2 * axes.size()) n.fail("'pads' needs two numbers per dimension");
  Padding p{std::vector<int64_t>(x.size(), 0), std::vector<int64_t>(x.size(), 0)};
  for (size_t i = 0; i < axes.size(); ++i) {
    const auto d = static_cast<size_t>(wrap_axis(axes[i], static_cast<int64_t>(x.size()), n.node));
    p.begin[d] = pads[i];
    p.end[d] = pads[axes.size() + i];
  }
  return p;
}

std::vector<DType> pad_types(const Node& node, const Types& inputs) {
  for (const size_t i : {1, 3}) {
    const bool index = i >= inputs.size() || !inputs[i] || inputs[i] == DType::int64 || (i == 3 && inputs[i] == DType::int32);
    if (!index) reject_type(node, i, *inputs[i], "int64");
  }
  if (inputs.size() > 2 && inputs[2] && inputs[2] != inputs[0]) reject_type(node, 2, *inputs[2], std::string(dtype_name(*inputs[0])) + ", as the first input");
  if (node.find("value") && inputs[0] != DType::float32) reject_type(node, 0, *inputs[0], "float32");
  return {*inputs[0]};
}

void infer_pad(Inference& n) {
  const Padding p = padding_of(n);
  const std::string mode = n.node.text("mode", "constant");
  if (mode != "constant" && mode != "edge" && mode != "reflect" && mode != "wrap") throw ModelError(n.node.label() + ": mode '" + mode + "'");
  if (n.has(2) && element_count(n.shape(2)) != 1) n.fail("the value is not one element");
  Shape out = n.shape(0);
  for (size_t d = 0; d < out.size(); ++d) {
    if (p.begin[d] < -out[d] || p.end[d] < -out[d] || p.begin[d] > kMaxElements || p.end[d] > kMaxElements) n.fail("padding is out of range");
    const int64_t before = out[d];
    out[d] += p.begin[d] + p.end[d];
    if (out[d] < 0) n.fail("negative padding removes more than there is");
    if (mode != "constant" && out[d] > kMostRepeated) throw Unsupported(n.node.label() + ": a dimension of more than 2^24");
    if (mode != "constant" && before == 0 && out[d] > 0) n.fail("mode '" + mode + "' of an empty dimension");
  }
  n.outputs = {out};
}

// Where the input lies in the output: begins in each and the common size, for padding that may be negative.
Move pad_move(const Shape& x, const Shape& out, const Padding& p) {
  const Shape from = row_major(x), to = row_major(out);
  Shape common;
  int64_t from_offset = 0, to_offset = 0;
  for (size_t d = 0; d < x.size(); ++d) {
    const int64_t skip = p.begin[d] < 0 ? -p.begin[d] : 0, first = p.begin[d] > 0 ? p.begin[d] : 0;
    const int64_t left = x[d] - skip, room = out[d] - first;
    common.push_back(left < room ? (left > 0 ? left : 0) : (room > 0 ? room : 0));
    from_offset += skip * from[d];
    to_offset += first * to[d];
  }
  Move m = move(common, to, from);
  m.from_offset = from_offset;
  m.to_offset = to_offset;
  return m;
}

// The place that the padded place `at` repeats.
int64_t repeated(int64_t at, int64_t size, const std::string& mode) {
  if (at >= 0 && at < size) return at;
  if (mode == "edge" || size == 1) return at < 0 ? 0 : size - 1;
  const int64_t period = mode == "wrap" ? size : 2 * (size - 1);
  const int64_t place = (at % period + period) % period;
  return place < size ? place : period - place;
}

// Each output element's source, dimension after dimension: offsets add up.
Step repeating_pad(Build& b, const Padding& p) {
  const Shape &x = b.shape(0), &out = b.out_shape(), strides = row_major(x);
  std::vector<std::vector<int64_t>> sources(x.size());
  for (size_t d = 0; d < x.size(); ++d) {
    for (int64_t i = 0; i < out[d]; ++i) sources[d].push_back(repeated(i - p.begin[d], x[d], b.node.text("mode", "")) * strides[d]);
  }
  const int64_t count = element_count(out);
  return with_bits(b.inputs[0]->dtype, [&]<class T>(T) -> Step {
    return {[=, in = b.in(0), y = b.out()](const Run& run) {
              for (int64_t i = 0; i < count; ++i) {
                int64_t rest = i, from = 0;
                for (size_t d = sources.size(); d-- > 0;) {
                  const auto size = static_cast<int64_t>(sources[d].size());
                  from += sources[d][static_cast<size_t>(rest % size)];
                  rest /= size;
                }
                run.at<T>(y)[i] = run.at<T>(in)[from];
              }
            },
            "plain loop", ""};
  });
}

Step build_pad(Build& b) {
  const Padding p = padding_of(Inference{b.node, b.model.opset, b.inputs, {}});
  if (b.node.text("mode", "constant") != "constant") return repeating_pad(b, p);
  const Move m = pad_move(b.shape(0), b.out_shape(), p);
  const int64_t size = dtype_size(b.inputs[0]->dtype), count = element_count(b.out_shape());
  Tensor fill = make_tensor(b.inputs[0]->dtype, {});
  if (b.node.find("value")) *fill.as<float>() = b.node.real("value", 0);
  return {[=, given = b.in(2), x = b.in(0), y = b.out()](const Run& run) {
            const std::byte* one = given == kNoSlot ? fill.data.get() : run.at<std::byte>(given);
            std::byte* to = run.at<std::byte>(y);
            for (int64_t i = 0; i < count; ++i) std::memcpy(to + i * size, one, static_cast<size_t>(size));
            run_move(m, size, run.at<std::byte>(x), to);
          },
          "strided copy", ""};
}

// --- DepthToSpace, SpaceToDepth --------------------------------------------------------------------------------------

int64_t block_of(const Inference& n) {
  const int64_t block = n.node.integer("blocksize", 0);
  if (n.shape(0).size() != 4) n.fail("input " + shape_text(n.shape(0)) + " has not 4 dimensions");
  if (block < 1 || block > kMaxElements) throw ModelError(n.node.label() + ": blocksize is " + std::to_string(block));
  return block;
}

void infer_depth_to_space(Inference& n) {
  const int64_t s = block_of(n);
  const Shape& x = n.shape(0);
  if (x[1] % s || x[1] / s % s) n.fail("its channels are no multiple of the square of blocksize");
  n.outputs = {{x[0], x[1] / s / s, element_count({x[2], s}), element_count({x[3], s})}};
}

void infer_space_to_depth(Inference& n) {
  const int64_t s = block_of(n);
  const Shape& x = n.shape(0);
  if (x[2] % s || x[3] % s) n.fail("its height or width is no multiple of blocksize");
  n.outputs = {{x[0], element_count({x[1], s, s}), x[2] / s, x[3] / s}};
}

// One copy over (batch, channel, y, block y, x, block x) of the finer grid: strides in it and in the deeper channels.
Step build_blocks(Build& b) {
  const bool spreads = b.node.op == "DepthToSpace";
  const Shape &fine = spreads ? b.out_shape() : b.shape(0), &deep = spreads ? b.shape(0) : b.out_shape();
  const int64_t s = b.node.integer("blocksize", 1), channels = fine[1];
  const Shape f = row_major(fine), d = row_major(deep);
  const bool crd = b.node.text("mode", "DCR") == "CRD";  // where in a deep channel the block lies
  const int64_t channel = crd ? s * s : 1, block_y = crd ? s : s * channels, block_x = crd ? 1 : channels;
  const Shape sizes{fine[0], channels, deep[2], s, deep[3], s};
  const Shape in_fine{f[0], f[1], s * f[2], f[2], s, 1};
  const Shape in_deep{d[0], channel * d[1], d[2], block_y * d[1], d[3], block_x * d[1]};
  return move_step(b, spreads ? move(sizes, in_fine, in_deep) : move(sizes, in_deep, in_fine));
}

constexpr Operator kOperators[] = {
    {"Pad", 1, 4, " mode pads value ", pad_types, infer_pad, build_pad},
    {"DepthToSpace", 1, 1, " blocksize mode ", first_type, infer_depth_to_space, build_blocks},
    {"SpaceToDepth", 1, 1, " blocksize mode ", first_type, infer_space_to_depth, build_blocks},
};

}  // namespace

std::span<const Operator> rearrange_operators() { return kOperators; }

}  // namespace gossamer
