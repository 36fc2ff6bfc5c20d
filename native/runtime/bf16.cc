#include "runtime/bf16.h"

#include <algorithm>

namespace gossamer {
namespace {

// Weights as the left factor, a pair's rows side by side: element (row, pair) at row + pair * stride. The stride is no
// power of two, which would put all pairs of a row into one set of the first cache.
struct LeftWeights {
  PackedWeights::Memory pairs;
  int64_t stride, count;
};

LeftWeights pack_left(Build& b, const ConvShape& s) {
  const int64_t stride = (s.out_channels + 15) / 16 * 16 + 16, count = stride * bf16_pairs(s.in_channels);
  const auto memory = b.packed.get("bf16 left:" + std::to_string(b.node.inputs[1]), [&] {
    Tensor packed = make_tensor(DType::uint32, {count});
    for (int64_t o = 0; o < s.out_channels; ++o) {
      pack_bf16_row(s.in_channels, b.known_floats(1) + o * s.in_channels, 1, packed.as<uint32_t>() + o, stride);
    }
    return packed.data;
  });
  return {memory, stride, count};
}

// One panel of pixels, all channels, to pairs of channels.
void round_panel(const Bf16Kernel& kernel, const ConvShape& s, const float* x, int64_t columns, uint32_t* panel) {
  const int64_t pixels = s.pixels(), width = kernel.tile.width;
  for (int64_t c = 0; c < s.in_channels; c += 2, panel += width) {
    const float* even = x + c * pixels;
    kernel.round({even, c + 1 < s.in_channels ? even + pixels : nullptr, 1, columns, panel});
    std::fill(panel + columns, panel + width, 0u);
  }
}

struct PointwiseStep {
  ConvShape shape;
  const Bf16Kernel* kernel;
  LeftWeights weights;
  float low, high;
  Slot x, bias, residual, y, scratch;

  int64_t panels() const { return panel_count(shape.pixels(), kernel->tile.width); }
  int64_t panel_pairs() const { return bf16_pairs(shape.in_channels) * kernel->tile.width; }
  GemmArgs args() const;
  void run(const Run& run) const;
};

GemmArgs PointwiseStep::args() const {
  GemmArgs g;
  g.m = shape.out_channels;
  g.k = bf16_pairs(shape.in_channels);
  g.a = static_cast<const float*>(weights.pairs.get());
  g.a_row = 1;
  g.a_k = weights.stride;
  g.c_stride = shape.pixels();
  g.low = low;
  g.high = high;
  const int64_t height = tile_height(g.m, kernel->tile.rows);
  g.tile_end = (g.m + height - 1) / height;
  g.panel_end = 1;
  return g;
}

void PointwiseStep::run(const Run& run) const {
  const int64_t pixels = shape.pixels(), width = kernel->tile.width;
  run.pool->share(shape.batch * panels(), [&](int64_t begin, int64_t end, int worker) {
    GemmArgs g = args();
    uint32_t* panel = run.at<uint32_t>(scratch) + worker * panel_pairs();
    g.b = reinterpret_cast<const float*>(panel);
    g.row_bias = run.at<float>(bias);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t image = task / panels(), pixel = task % panels() * width, at = image * shape.out_channels * pixels + pixel;
      g.n = std::min<int64_t>(width, pixels - pixel);
      round_panel(*kernel, shape, run.at<float>(x) + image * shape.in_channels * pixels + pixel, g.n, panel);
      g.c = run.at<float>(y) + at;
      g.residual = residual == kNoSlot ? nullptr : run.at<float>(residual) + at;
      kernel->run(g);
    }
  });
}

}  // namespace

std::string bf16_note(Isa isa) {
  const bool fast = isa >= Isa::avx512vnni && machine_multiplies_bf16();
  return fast ? "" : "no products of bfloat16 in this instruction set: widened to float32";
}

void round_to_pairs(const Bf16Kernel& kernel, const float* x, int64_t k, uint32_t* pairs) {
  kernel.round({x, x + 1, 2, k / 2, pairs});
  if (k % 2) kernel.round({x + k - 1, nullptr, 1, 1, pairs + k / 2});
}

Step bf16_conv_step(Build& b, const ConvShape& s) {
  const Bf16Kernel& kernel = fastest(kBf16Kernels, b.isa);
  PointwiseStep step{s, &kernel, pack_left(b, s), b.epilogue.low, b.epilogue.high, b.in(0),
                     b.has(2) ? b.in(2) : b.optional(b.epilogue.bias), b.optional(b.epilogue.residual), b.out(), kNoSlot};
  step.scratch = b.scratch(step.panel_pairs() * 4 * b.threads);
  if (step.residual != kNoSlot) b.in_place.push_back(b.epilogue.residual);
  return {[step](const Run& run) { step.run(run); }, kernel.name, bf16_note(b.isa),
          s.batch * s.out_channels * s.pixels() * s.in_channels, step.weights.count * 4};
}

}  // namespace gossamer
