// gossamer.SignConv and gossamer.SignMatMul: inputs x, words of signs, perhaps a bias, the magnitude of each row of words.
#include <algorithm>
#include <memory>

#include "kernels/conv/conv.h"
#include "kernels/xnor/xnor.h"
#include "runtime/signs.h"
#include "runtime/window.h"

namespace gossamer {
namespace {

std::vector<DType> float_result(const Node&, const Types&) { return {DType::float32}; }

// What both have in common.
struct Fixed {
  const XnorKernel* kernel;
  XnorArgs args;
  float limit;
  Slot x, words, scales, bias, residual, y;

  Fixed(Build& b, int64_t m, int64_t n, int64_t k_words) : kernel(&fastest(kXnorKernels, b.isa)), limit(b.node.real("limit", 0)) {
    args.m = m;
    args.n = n;
    args.words = k_words;
    args.low = b.epilogue.low;
    args.high = b.epilogue.high;
    x = b.in(0);
    words = b.in(1);
    scales = b.in(3);
    bias = b.has(2) ? b.in(2) : b.optional(b.epilogue.bias);
    residual = b.optional(b.epilogue.residual);
    y = b.out();
  }

  int64_t tiles() const {
    const int64_t height = tile_height(args.m, kernel->tile.rows);
    return (args.m + height - 1) / height;
  }
};

// --- product: activations are the rows, weights the panels --------------------------------------------------------------

void infer_product(Inference& n) {
  Shape out = n.shape(0);
  if (out.empty() || out.back() != n.node.integer("channels", 0)) n.fail("its weights do not fit");
  out.back() = n.shape(1)[0];
  n.outputs = {out};
}

struct SignProduct : Fixed {
  int64_t depth;
  PackedWeights::Memory panels;
  std::vector<int32_t> bits;
  Slot rows;

  SignProduct(Build& b, int64_t m, int64_t k) : Fixed(b, m, b.shape(1)[0], b.shape(1)[1]), depth(k) {
    const int width = kernel->tile.width;
    panels = b.packed.get("signs:" + std::to_string(b.node.inputs[1]), [&] {
      Tensor packed = make_tensor(DType::int32, {panel_count(args.n, width) * width * args.words});
      pack_signs(args.n, args.words, b.constant(1)->dense.as<int32_t>(), width, packed.as<int32_t>());
      return packed.data;
    });
    bits.assign(static_cast<size_t>(panel_count(args.n, width) * width), static_cast<int32_t>(k));
    rows = b.scratch(m * args.words * 4);
  }

  void run(const Run& run) const {
    auto* to = run.at<int32_t>(rows);
    run.pool->share(args.m, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) kernel->row({run.at<float>(x) + i * depth, depth, limit, to + i * args.words});
    });
    XnorArgs g = args;
    g.a = to;
    g.b = static_cast<const int32_t*>(panels.get());
    g.bits = bits.data();
    g.column_scale = run.at<float>(scales);
    g.column_bias = run.at<float>(bias);
    g.residual = run.at<float>(residual);
    g.c = run.at<float>(y);
    g.c_stride = g.n;
    g.tile_end = tiles();
    g.panel_end = panel_count(g.n, kernel->tile.width);
    const bool by_rows = g.tile_end >= run.pool->threads();
    run.pool->share(by_rows ? g.tile_end : g.panel_end, [&](int64_t begin, int64_t end, int) {
      XnorArgs part = g;
      (by_rows ? part.tile_begin : part.panel_begin) = begin;
      (by_rows ? part.tile_end : part.panel_end) = end;
      kernel->run(part);
    });
  }
};

Step build_product(Build& b) {
  const int64_t k = b.shape(0).back(), m = element_count(b.shape(0)) / k;
  const auto step = std::make_shared<const SignProduct>(b, m, k);
  const XnorArgs& a = step->args;
  return {[step](const Run& run) { step->run(run); }, step->kernel->name, "", a.m * a.n * k};
}

// --- convolution: weights are the rows, patches the panels ---------------------------------------------------------------

Window window_of(const Node& node, const Shape& x) { return read_window(node, x, node.integers("kernel_shape")); }

void infer_conv(Inference& n) {
  const Shape& x = n.shape(0);
  if (x.size() != n.node.integers("kernel_shape").size() + 2 || x[1] != n.node.integer("channels", 0)) n.fail("its weights do not fit");
  n.outputs = {window_output(x, n.shape(1)[0], window_of(n.node, x), n.node)};
}

struct SignConv : Fixed {
  Window w;
  int64_t batch, channels, of_tap;  // words of a tap
  bool pads;
  Slot planes, panels;

  explicit SignConv(Build& b) : Fixed(b, b.shape(1)[0], 0, b.shape(1)[1]), w(window_of(b.node, b.shape(0))) {
    batch = b.shape(0)[0];
    channels = b.shape(0)[1];
    of_tap = sign_words(channels);
    args.n = w.out[0] * w.out[1];
    pads = reaches_out(0) || reaches_out(1);
    planes = b.scratch(of_tap * w.in[0] * w.in[1] * 4);
    panels = b.scratch(panel_words() * 4 * b.threads);
    if (residual != kNoSlot) b.in_place.push_back(b.epilogue.residual);
  }

  bool reaches_out(int d) const {
    return w.begin[d] > 0 || (w.out[d] - 1) * w.stride[d] - w.begin[d] + (w.kernel[d] - 1) * w.dilation[d] >= w.in[d];
  }

  // A worker's: the patches, their mask, and how many signs count.
  int64_t panel_words() const { return (args.words * (pads ? 2 : 1) + 1) * kernel->tile.width; }

  void run(const Run& run) const {
    for (int64_t image = 0; image < batch; ++image) run_image(run, image);
  }

  void run_image(const Run& run, int64_t image) const {
    const int64_t pixels = w.in[0] * w.in[1], size = args.m * args.n;
    const float* from = run.at<float>(x) + image * channels * pixels;
    run.pool->share(of_tap, [&](int64_t begin, int64_t end, int) {
      for (int64_t word = begin; word < end; ++word) {
        const int64_t first = 32 * word;
        kernel->planes({from + first * pixels, std::min<int64_t>(32, channels - first), pixels, pixels, limit,
                        run.at<int32_t>(planes) + word * pixels});
      }
    });
    run.pool->share(panel_count(args.n, kernel->tile.width), [&](int64_t begin, int64_t end, int worker) {
      int32_t* panel = run.at<int32_t>(panels) + worker * panel_words();
      for (int64_t i = begin; i < end; ++i) multiply(run, i * kernel->tile.width, image * size, panel);
    });
  }

  void multiply(const Run& run, int64_t pixel, int64_t image, int32_t* panel) const {
    const int64_t width = kernel->tile.width;
    XnorArgs g = args;
    int32_t* mask = pads ? panel + args.words * width : nullptr;
    int32_t* bits = panel + (pads ? 2 : 1) * args.words * width;
    fill(run.at<int32_t>(planes), pixel, panel, mask, bits);
    g.n = std::min(width, args.n - pixel);
    g.a = run.at<int32_t>(words);
    g.b = panel;
    g.mask = mask;
    g.bits = bits;
    g.row_scale = run.at<float>(scales);
    g.row_bias = run.at<float>(bias);
    g.residual = residual == kNoSlot ? nullptr : run.at<float>(residual) + image + pixel;
    g.c = run.at<float>(y) + image + pixel;
    g.c_stride = args.n;
    g.tile_end = tiles();
    g.panel_end = 1;
    kernel->run(g);
  }

  // The patches of the pixels from `pixel` on, one output row after the other.
  void fill(const int32_t* signs, int64_t pixel, int32_t* panel, int32_t* mask, int32_t* bits) const {
    const int64_t width = kernel->tile.width, taps = w.kernel[0] * w.kernel[1];
    std::fill(bits, bits + width, pads ? 0 : static_cast<int32_t>(taps * channels));
    const int64_t end = std::min(width, args.n - pixel);
    for (int64_t lane = 0; lane < end;) {
      const int64_t row = (pixel + lane) / w.out[1], column = (pixel + lane) % w.out[1];
      const int64_t count = std::min(end - lane, w.out[1] - column);
      for (int64_t tap = 0; tap < taps; ++tap) {
        const Part part = part_of(row, column, count, tap);
        for (int64_t word = 0; word < of_tap; ++word) {
          const int64_t at = (tap * of_tap + word) * width + lane;
          copy(signs + word * w.in[0] * w.in[1], part, count, panel + at);
          if (mask) mark(part, count, mask + at);
        }
        for (int64_t j = part.begin; pads && j < part.end; ++j) bits[lane + j] += static_cast<int32_t>(channels);
      }
      lane += count;
    }
  }

  // Which of `count` neighbouring output pixels read inside of the image at a tap, and where the first one of all reads.
  struct Part {
    int64_t begin, end, from;
  };

  Part part_of(int64_t row, int64_t column, int64_t count, int64_t tap) const {
    const int64_t in_row = row * w.stride[0] - w.begin[0] + tap / w.kernel[1] * w.dilation[0];
    const int64_t first = column * w.stride[1] - w.begin[1] + tap % w.kernel[1] * w.dilation[1], step = w.stride[1];
    if (in_row < 0 || in_row >= w.in[0]) return {0, 0, 0};
    const int64_t begin = first < 0 ? std::min(count, (-first + step - 1) / step) : 0;
    const int64_t end = first >= w.in[1] ? 0 : std::min(count, (w.in[1] - first + step - 1) / step);
    return {begin, std::max(begin, end), in_row * w.in[1] + first};
  }

  void copy(const int32_t* plane, const Part& part, int64_t count, int32_t* to) const {
    const int64_t step = w.stride[1];
    std::fill(to, to + part.begin, 0);
    for (int64_t j = part.begin; j < part.end; ++j) to[j] = plane[part.from + j * step];
    std::fill(to + part.end, to + count, 0);
  }

  static void mark(const Part& part, int64_t count, int32_t* to) {
    std::fill(to, to + count, 0);
    std::fill(to + part.begin, to + part.end, -1);
  }
};

Step build_conv(Build& b) {
  const auto step = std::make_shared<const SignConv>(b);
  const XnorArgs& a = step->args;
  const int64_t depth = step->channels * step->w.kernel[0] * step->w.kernel[1];
  return {[step](const Run& run) { step->run(run); }, step->kernel->name, "", step->batch * a.m * a.n * depth};
}

constexpr Operator kOperators[] = {
    {"gossamer.SignConv", 4, 4, " auto_pad channels dilations group kernel_shape limit pads strides ", float_result, infer_conv, build_conv,
     Fusion::affine},
    {"gossamer.SignMatMul", 4, 4, " alpha beta channels limit transA transB ", float_result, infer_product, build_product, Fusion::affine},
};

}  // namespace

std::span<const Operator> sign_operators() { return kOperators; }

}  // namespace gossamer
