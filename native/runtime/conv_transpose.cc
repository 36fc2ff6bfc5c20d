#include "runtime/conv_transpose.h"

#include <algorithm>
#include <limits>

#include "kernels/col2im/col2im.h"
#include "kernels/conv/method.h"
#include "runtime/conv_step.h"

namespace gossamer {
namespace {

// What is common to all images of a batch.
struct Transposed {
  ConvShape product;  // of one image: rows are (output channel, kernel row, kernel column)
  Col2imArgs sums;
  int64_t batch;
};

Transposed transposed(const Build& b, const WindowNd& w) {
  const bool two = w.spatial() == 2;
  const auto first = [&](const Shape& sizes, int64_t otherwise) { return two ? sizes[0] : otherwise; };
  Transposed t;
  t.batch = b.shape(0)[0];
  Col2imArgs& a = t.sums;
  a.channels = b.out_shape()[1];
  a.in_h = first(w.out, 1);
  a.in_w = w.out.back();
  a.out_h = first(w.in, 1);
  a.out_w = w.in.back();
  a.kernel_h = first(w.kernel, 1);
  a.kernel_w = w.kernel.back();
  a.stride_h = first(w.stride, 1);
  a.stride_w = w.stride.back();
  a.dilation_h = first(w.dilation, 1);
  a.dilation_w = w.dilation.back();
  a.pad_top = first(w.begin, 0);
  a.pad_left = w.begin.back();
  a.low = b.epilogue.low;
  a.high = b.epilogue.high;
  ConvShape& s = t.product;
  s.groups = b.node.integer("group", 1);
  s.in_channels = b.shape(0)[1];
  s.in_h = s.out_h = a.in_h;
  s.in_w = s.out_w = a.in_w;
  s.out_channels = element_count({a.channels, a.kernel_h, a.kernel_w});
  merge_rows(s);
  return t;
}

// Weights C x O/G x kh x kw to those of the product, (O kh kw) x C/G.
std::vector<float> product_weights(const ConvShape& s, const float* weights) {
  std::vector<float> result(static_cast<size_t>(s.out_channels * s.depth()));
  const int64_t depth = s.depth(), rows = s.rows();
  for (int64_t c = 0; c < s.in_channels; ++c) {
    const int64_t group = c / depth;
    for (int64_t row = 0; row < rows; ++row) {
      result[static_cast<size_t>((group * rows + row) * depth + c % depth)] = weights[c * rows + row];
    }
  }
  return result;
}

PackedWeights::Memory pack(Build& b, const ConvMethod& method, const ConvKernel& kernel, const ConvShape& s) {
  const std::string key = std::string("transposed ") + kernel.name + ":" + std::to_string(b.node.inputs[1]) + ":" + std::to_string(s.groups);
  return b.packed.get(key, [&] {
    Tensor memory = make_tensor(DType::float32, {method.weights_size(s, kernel.tile)});
    method.pack(s, product_weights(s, b.known_floats(1)).data(), kernel.tile, memory.as<float>());
    return memory.data;
  });
}

struct TransposedStep {
  Transposed of;
  PackedWeights::Memory weights;
  void (*multiply)(const ConvArgs&);
  void (*add)(const Col2imArgs&);
  int64_t tasks, product_floats, sum_floats;
  Slot x, bias, y, columns, scratch;

  void run(const Run& run) const {
    const int64_t in = of.product.in_channels * of.product.pixels(), out = of.sums.channels * of.sums.out_h * of.sums.out_w;
    const int64_t floats = std::max(product_floats, sum_floats);
    for (int64_t image = 0; image < of.batch; ++image) {
      run.pool->share(tasks, [&](int64_t begin, int64_t end, int worker) {
        multiply({of.product, run.at<float>(x) + image * in, static_cast<const float*>(weights.get()), nullptr, nullptr,
                  run.at<float>(columns), -std::numeric_limits<float>::infinity(), std::numeric_limits<float>::infinity(),
                  nullptr, nullptr, run.at<float>(scratch) + worker * floats, begin, end});
      });
      run.pool->share(of.sums.channels, [&](int64_t begin, int64_t end, int worker) {
        Col2imArgs a = of.sums;
        a.columns = run.at<float>(columns);
        a.bias = run.at<float>(bias);
        a.y = run.at<float>(y) + image * out;
        a.scratch = run.at<float>(scratch) + worker * floats;
        a.channel_begin = begin;
        a.channel_end = end;
        add(a);
      });
    }
  }
};

}  // namespace

Step conv_transpose_step(Build& b, const WindowNd& window) {
  const Transposed t = transposed(b, window);
  const ConvShape& s = t.product;
  const ConvMethod& method = *conv_candidates(s, b.isa).front();
  const ConvKernel& kernel = method.kernel(b.isa);
  const auto& sums = fastest(kCol2imKernels, b.isa);
  const int64_t product_floats = method.scratch(s, kernel.tile), sum_floats = col2im_scratch(t.sums);
  const TransposedStep step{t, pack(b, method, kernel, s), kernel.run, sums.run, method.tasks(s, kernel.tile), product_floats, sum_floats,
                            b.in(0), b.has(2) ? b.in(2) : kNoSlot, b.out(), b.scratch(element_count({s.out_channels, s.pixels()}) * 4),
                            b.scratch(std::max(product_floats, sum_floats) * 4 * b.threads)};
  const Constant* w = b.constant(1);
  return {[step](const Run& run) { step.run(run); }, std::string(kernel.name) + " + " + sums.name, w ? w->note : "",
          t.batch * s.out_channels * s.pixels() * s.depth(), method.weights_size(s, kernel.tile) * 4};
}

}  // namespace gossamer
