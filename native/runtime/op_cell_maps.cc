// Sums, products, maxima, means and tables on planes of cells of bytes, which quantized.cc puts in place of quantized
// patterns: kernels/cell_maps. What quantized.cc has worked out arrives as attributes and constants; it has checked them.
#include <algorithm>

#include "kernels/cell_maps/cell_maps.h"
#include "kernels/integer/requantize.h"
#include "runtime/cell_binary.h"
#include "runtime/cell_shape.h"
#include "runtime/strided.h"
#include "runtime/window.h"

namespace gossamer {
namespace {

// --- two tensors ---------------------------------------------------------------------------------------------------------
// Of as many channels; other dimensions are broadcast.

void infer_binary(Inference& n) { n.outputs = {broadcast(n.shape(0), n.shape(1), n.node)}; }

ByteBinaryArgs binary_args(const Node& node) {
  ByteBinaryArgs a;
  a.a_scale = node.real("a_scale", 1);
  a.b_scale = node.real("b_scale", 1);
  a.shift = node.real("shift", 0);
  a.a_zero = node.real("a_zero", 0);
  a.b_zero = node.real("b_zero", 0);
  a.scale = node.real("scale", 1);
  a.zero = small(node, "zero");
  a.low = static_cast<int>(node.real("low", 0));
  a.high = static_cast<int>(node.real("high", 255));
  return a;
}

Step binary_step(Build& b, const Row<void (*)(const ByteBinaryArgs&)>& kernel) {
  return cell_binary_step(b, kernel, binary_args(b.node), {b.in(0), b.shape(0), b.node.inputs[0]}, {b.in(1), b.shape(1), b.node.inputs[1]});
}

Step build_add(Build& b) { return binary_step(b, fastest(kByteAddKernels, b.isa)); }
Step build_multiply(Build& b) { return binary_step(b, fastest(kByteMultiplyKernels, b.isa)); }

// --- windows -------------------------------------------------------------------------------------------------------------

Window pool_window(const Node& node, const Shape& x) { return read_window(node, plain_shape(x, 4 * x[1]), {}); }

void infer_pool(Inference& n) {
  const Shape& x = n.shape(0);
  n.outputs = {cells_shape(window_output(plain_shape(x, 4 * x[1]), 4 * x[1], pool_window(n.node, x), n.node))};
}

CellPoolArgs pool_args(const Node& node, const Window& w) {
  CellPoolArgs a{w.in[0], w.in[1], w.out[0], w.out[1], w.kernel[0], w.kernel[1], w.stride[0], w.stride[1],
                 w.dilation[0], w.dilation[1], w.begin[0], w.begin[1]};
  a.count_padding = node.integer("count_include_pad", 0) != 0;
  a.scale = node.real("scale", 1);
  a.shift = node.real("shift", 0);
  a.x_zero = small(node, "x_zero");
  a.zero = small(node, "zero");
  a.low = static_cast<int>(node.real("low", 0));
  a.high = static_cast<int>(node.real("high", 255));
  return a;
}

Step pool_step(Build& b, const Row<void (*)(const CellPoolArgs&)>& kernel) {
  const Shape& x = b.shape(0);
  const CellPoolArgs fixed = pool_args(b.node, pool_window(b.node, x));
  const int64_t cells = (cell_pool_scratch(fixed) + 15) / 16 * 16;
  const Slot from = b.in(0), to = b.out(), scratch = b.scratch(4 * cells * b.threads);
  return {[=, planes = x[0] * x[1], pool = kernel.run](const Run& run) {
            run.pool->share(planes, [&](int64_t begin, int64_t end, int worker) {
              CellPoolArgs a = fixed;
              a.x = run.at<uint8_t>(from);
              a.y = run.at<uint8_t>(to);
              a.scratch = run.at<uint32_t>(scratch) + worker * cells;
              a.plane_begin = begin;
              a.plane_end = end;
              pool(a);
            });
          },
          kernel.name, ""};
}

Step build_max_pool(Build& b) { return pool_step(b, fastest(kCellMaxPoolKernels, b.isa)); }
Step build_average_pool(Build& b) { return pool_step(b, fastest(kCellAveragePoolKernels, b.isa)); }

void infer_mean(Inference& n) {
  const Shape& x = n.shape(0);
  Shape out{x[0], n.node.integer("channels", 0)};
  if (n.node.integer("keepdims", 1)) out.resize(x.size() - 1, 1);
  n.outputs = {n.node.integer("float_out", 0) ? out : cells_shape(out)};
}

Step build_mean(Build& b) {
  CellMeanArgs fixed;
  const bool float_out = b.node.integer("float_out", 0) != 0;
  fixed.channels = b.node.integer("channels", 0);
  fixed.pixels = pixels_of(b.shape(0));
  fixed.scale = b.node.real("scale", 1) / static_cast<float>(fixed.pixels);
  fixed.zero = small(b.node, "zero");
  fixed.y_scale = b.node.real("y_scale", 1);
  fixed.y_zero = small(b.node, "y_zero");
  const auto& kernel = fastest(kCellMeanKernels, b.isa);
  const int64_t batch = b.shape(0)[0], planes = b.shape(0)[1];
  return {[=, x = b.in(0), y = b.out(), mean = kernel.run](const Run& run) {
            each_image(run, batch, planes, fixed, [&](CellMeanArgs& a, int64_t image) {
              a.x = run.at<uint8_t>(x) + image * planes * a.pixels * 4;
              if (float_out) a.y = run.at<float>(y) + image * a.channels;
              else a.cells = run.at<uint8_t>(y) + image * planes * 4;
              mean(a);
            });
          },
          kernel.name, ""};
}

// --- any function of a byte ----------------------------------------------------------------------------------------------

std::vector<DType> lookup_type(const Node& node, const Types&) { return {node.integer("signed", 0) ? DType::int8 : DType::uint8}; }
void infer_same(Inference& n) { n.outputs = {n.shape(0)}; }

Step build_lookup(Build& b) {
  b.in_place.push_back(b.node.inputs[0]);
  const auto& kernel = fastest(kByteLookupKernels, b.isa);
  const int64_t bytes = element_count(b.shape(0)), lines = (bytes + 63) / 64;
  return {[=, x = b.in(0), table = b.in(1), y = b.out(), look_up = kernel.run](const Run& run) {
            run.pool->share(lines, [&](int64_t begin, int64_t end, int) {
              const int64_t first = begin * 64, last = std::min(end * 64, bytes);
              look_up({last - first, run.at<uint8_t>(x) + first, run.at<uint8_t>(table), run.at<uint8_t>(y) + first});
            });
          },
          kernel.name, ""};
}

// --- sums of two tensors in integers alone -------------------------------------------------------------------------------
// y = requantize(table_a[a] + table_b[b]); inputs: a, b, the tables (int32, 256), multiplier, shift. Sums wrap around.

constexpr int64_t kBlock = 1024;

void infer_integer_sum(Inference& n) { n.outputs = {broadcast(n.shape(0), n.shape(1), n.node)}; }

struct IntegerSum {
  Walk walk;
  RequantizeArgs requantize;
  void (*kernel)(const RequantizeArgs&);
  Slot a, b, table_a, table_b, factor, shift, y;

  // Elements `begin` to `end` of a run that starts at these places.
  void run(const Run& run, const int64_t (&at)[3], int64_t begin, int64_t end) const {
    const uint8_t *left = run.at<uint8_t>(a) + at[1], *right = run.at<uint8_t>(b) + at[2];
    const auto *first = run.at<uint32_t>(table_a), *second = run.at<uint32_t>(table_b);
    uint32_t sums[kBlock];
    RequantizeArgs args = requantize;
    args.x = sums;
    args.multiplier = run.at<int32_t>(factor);
    args.right_shift = run.at<int32_t>(shift);
    args.line_end = 1;
    for (int64_t from = begin; from < end; from += kBlock) {
      args.n = std::min(kBlock, end - from);
      for (int64_t i = 0; i < args.n; ++i) {
        sums[i] = first[left[(from + i) * walk.inner_stride(1)]] + second[right[(from + i) * walk.inner_stride(2)]];
      }
      args.y = run.at<uint8_t>(y) + at[0] + from;
      kernel(args);
    }
  }
};

Step build_integer_sum(Build& b) {
  const auto& kernel = fastest(kRequantizeKernels, b.isa);
  RequantizeArgs fixed;
  fixed.to = IntegerType::uint8;
  fixed.zero = small(b.node, "zero");
  fixed.low = small(b.node, "low");
  fixed.high = small(b.node, "high");
  const Shape& out = b.out_shape();
  const Walk walk = make_walk(out, row_major(out), broadcast_strides(b.shape(0), out), broadcast_strides(b.shape(1), out));
  const IntegerSum sum{walk, fixed, kernel.run, b.in(0), b.in(1), b.in(2), b.in(3), b.in(4), b.in(5), b.out()};
  return {[sum](const Run& run) {
            sum.walk.each_run([&](int64_t y, int64_t left, int64_t right) {
              run.pool->share((sum.walk.inner() + kBlock - 1) / kBlock, [&](int64_t begin, int64_t end, int) {
                sum.run(run, {y, left, right}, begin * kBlock, std::min(end * kBlock, sum.walk.inner()));
              });
            });
          },
          kernel.name, "each byte through a table, their sum requantized"};
}

constexpr Operator kOperators[] = {
    {"gossamer.Add", 2, 2, "", byte_type, infer_binary, build_add},
    {"gossamer.AddInteger", 6, 6, "", byte_type, infer_integer_sum, build_integer_sum},
    {"gossamer.Multiply", 2, 2, "", byte_type, infer_binary, build_multiply},
    {"gossamer.MaxPool", 1, 1, "", byte_type, infer_pool, build_max_pool},
    {"gossamer.AveragePool", 1, 1, "", byte_type, infer_pool, build_average_pool},
    {"gossamer.Mean", 1, 1, "", result_type, infer_mean, build_mean},
    {"gossamer.Channels", 1, -1, "", byte_type, infer_cell_channels, build_cell_channels},
    {"gossamer.Lookup", 2, 2, "", lookup_type, infer_same, build_lookup},
};

}  // namespace

std::span<const Operator> cell_map_operators() { return kOperators; }

}  // namespace gossamer
