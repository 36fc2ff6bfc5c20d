// Pad in all its modes, DepthToSpace and SpaceToDepth.
#include <algorithm>
#include <cstring>

#include "runtime/errors.h"
#include "runtime/move.h"
#include "runtime/types.h"

namespace gossamer {
namespace {

// --- Pad -----------------------------------------------------------------------------------------------------------------

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
    if (out[d] > kMaxElements) n.fail("padding is out of range");
    if (out[d] < 0) n.fail("negative padding removes more than there is");
    if (mode != "constant" && before == 0 && out[d] > 0) n.fail("mode '" + mode + "' of an empty dimension");
  }
  n.outputs = {out};
}

enum class PadMode { constant, edge, reflect, wrap };

PadMode pad_mode(const Node& node) {
  const std::string mode = node.text("mode", "constant");
  return mode == "edge" ? PadMode::edge : mode == "reflect" ? PadMode::reflect : mode == "wrap" ? PadMode::wrap : PadMode::constant;
}

// The place in a dimension that the place `at` takes its element from; -1: none, it is the given value.
int64_t source(int64_t at, int64_t size, PadMode mode) {
  if (at >= 0 && at < size) return at;
  if (mode == PadMode::constant) return -1;
  if (mode == PadMode::edge || size == 1) return at < 0 ? 0 : size - 1;
  const int64_t period = mode == PadMode::wrap ? size : 2 * (size - 1);
  const int64_t place = (at % period + period) % period;
  return place < size ? place : period - place;
}

// The output as lines along the last dimension that is padded, of units that are what lies behind it. A line is the middle of
// a line of the input, in one piece, and units at both ends.
struct Lines {
  PadMode mode = PadMode::constant;
  Shape in, out;  // of the dimensions before
  std::vector<int64_t> begin;
  int64_t line_in = 1, line_out = 1, line_begin = 0;
  int64_t unit = 0;  // bytes

  // Where in the input a line of the output comes from, in lines; -1: nowhere.
  int64_t line_source(int64_t line) const {
    int64_t place = 0, stride = 1;
    for (size_t d = out.size(); d-- > 0;) {
      const int64_t at = source(line % out[d] - begin[d], in[d], mode);
      if (at < 0) return -1;
      line /= out[d];
      place += at * stride;
      stride *= in[d];
    }
    return place;
  }
};

Lines lines_of(const Shape& x, const Shape& out, const Padding& p, PadMode mode, int64_t element_size) {
  size_t line = x.size();
  while (line > 0 && p.begin[line - 1] == 0 && x[line - 1] == out[line - 1]) --line;
  Lines lines;
  lines.mode = mode;
  lines.unit = product(x, line, x.size()) * element_size;
  if (line-- == 0) return lines;
  lines.line_in = x[line];
  lines.line_out = out[line];
  lines.line_begin = p.begin[line];
  const auto last = static_cast<int64_t>(line);
  lines.in.assign(x.begin(), x.begin() + last);
  lines.out.assign(out.begin(), out.begin() + last);
  lines.begin.assign(p.begin.begin(), p.begin.begin() + last);
  return lines;
}

// `bytes` of elements like the one given; elements of 1, 2, 4 or 8 bytes.
void fill(const std::byte* one, int64_t size, int64_t bytes, std::byte* to) {
  const auto typed = [&]<class T>(T value) {
    std::memcpy(&value, one, sizeof value);
    std::fill_n(reinterpret_cast<T*>(to), bytes / size, value);
  };
  if (size == 1) typed(uint8_t{});
  else if (size == 2) typed(uint16_t{});
  else if (size == 4) typed(uint32_t{});
  else typed(uint64_t{});
}

void copy_bytes(const std::byte* from, int64_t bytes, std::byte* to) {
  if (bytes > 0) std::memcpy(to, from, static_cast<size_t>(bytes));
}

// Units [first, last) of a line, which lie outside of the input's.
void write_border(const Lines& lines, int64_t first, int64_t last, const std::byte* line, const std::byte* one, int64_t size, std::byte* to) {
  if (lines.mode == PadMode::constant) return fill(one, size, (last - first) * lines.unit, to + first * lines.unit);
  for (int64_t i = first; i < last; ++i) {
    copy_bytes(line + source(i - lines.line_begin, lines.line_in, lines.mode) * lines.unit, lines.unit, to + i * lines.unit);
  }
}

void write_line(const Lines& lines, const std::byte* line, const std::byte* one, int64_t size, std::byte* to) {
  const int64_t before = std::clamp<int64_t>(lines.line_begin, 0, lines.line_out), skipped = std::max<int64_t>(-lines.line_begin, 0);
  const int64_t inside = std::max<int64_t>(0, std::min(lines.line_in - skipped, lines.line_out - before));
  write_border(lines, 0, before, line, one, size, to);
  copy_bytes(line + skipped * lines.unit, inside * lines.unit, to + before * lines.unit);
  write_border(lines, before + inside, lines.line_out, line, one, size, to);
}

Step build_pad(Build& b) {
  const Padding p = padding_of(Inference{b.node, b.model.opset, b.inputs, {}});
  const int64_t size = dtype_size(b.inputs[0]->dtype);
  const Lines lines = lines_of(b.shape(0), b.out_shape(), p, pad_mode(b.node), size);
  Tensor value = make_tensor(b.inputs[0]->dtype, {});
  if (b.node.find("value")) *value.as<float>() = b.node.real("value", 0);
  const int64_t count = element_count(b.out_shape()) ? element_count(lines.out) : 0;
  return {[=, given = b.in(2), x = b.in(0), y = b.out()](const Run& run) {
            const std::byte* one = given == kNoSlot ? value.data.get() : run.at<std::byte>(given);
            run.pool->share(count, [&](int64_t begin, int64_t end, int) {
              for (int64_t i = begin; i < end; ++i) {
                const int64_t from = lines.line_source(i);
                std::byte* to = run.at<std::byte>(y) + i * lines.line_out * lines.unit;
                if (from < 0) fill(one, size, lines.line_out * lines.unit, to);
                else write_line(lines, run.at<std::byte>(x) + from * lines.line_in * lines.unit, one, size, to);
              }
            });
          },
          "copied lines", ""};
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
