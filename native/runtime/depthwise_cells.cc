#include "runtime/depthwise_cells.h"

#include <limits>

#include "kernels/depthwise_cells/layout.h"

namespace gossamer {
namespace {

constexpr int64_t kMostStride = 4;  // a plane falls apart into as many phases

template <class Element>
std::vector<Element> filled_up(const void* values, int64_t channels) {
  std::vector<Element> all(static_cast<size_t>((channels + 3) / 4 * 4));
  if (values) std::copy_n(static_cast<const Element*>(values), channels, all.begin());
  return all;
}

// Everything about a step but the pointers of a run.
struct DepthwiseStep {
  ConvShape shape;
  DepthwiseLayout layout;
  const DepthwiseCellsKernel* kernel;
  std::vector<int32_t> offsets, initial;
  std::vector<float> scale, shift;
  std::vector<int32_t> multiplier, right_shift;
  std::vector<std::byte> taps;
  std::vector<CellBlock> blocks;
  CellEpilogue epilogue;
  uint32_t fill;
  Slot x, y, residual, copies;

  int64_t planes() const { return (shape.in_channels + 3) / 4; }
  void run_plane(const Run& run, int64_t image, int64_t plane, uint32_t* copy) const;
};

void DepthwiseStep::run_plane(const Run& run, int64_t image, int64_t plane, uint32_t* copy) const {
  const int64_t place = image * planes() + plane;
  layout.copy(run.at<uint32_t>(x) + place * shape.in_h * shape.in_w, fill, copy);
  DepthwiseCellsArgs a;
  a.in = copy;
  a.segments = static_cast<int>(offsets.size());
  a.step = layout.step();
  a.offsets = offsets.data();
  a.taps = taps.data() + plane * a.segments * depthwise_tap_bytes(kernel->form);
  a.blocks = blocks.data();
  a.block_count = static_cast<int64_t>(blocks.size());
  a.initial = initial.data() + 4 * plane;
  a.epilogue = epilogue;
  a.epilogue.scale = scale.data() + 4 * plane;
  a.epilogue.shift = shift.data() + 4 * plane;
  if (epilogue.multiplier) {
    a.epilogue.multiplier = multiplier.data() + 4 * plane;
    a.epilogue.right_shift = right_shift.data() + 4 * plane;
  }
  a.residual = residual == kNoSlot ? nullptr : run.at<uint32_t>(residual) + place * shape.pixels();
  a.out = run.at<uint32_t>(y) + place * shape.pixels();
  kernel->run(a);
}

}  // namespace

bool is_depthwise_of_cells(const CellConv& conv) {
  const ConvShape& s = conv.shape;
  if (!conv.byte_weights || conv.float_out || conv.sums_out || s.groups != s.in_channels || s.out_channels != s.in_channels) return false;
  if (s.stride_h > kMostStride || s.stride_w > kMostStride) return false;
  return DepthwiseLayout(s).cells() < std::numeric_limits<int32_t>::max() && s.pixels() < std::numeric_limits<int32_t>::max();
}

Step depthwise_cells_step(Build& b, const CellConv& conv) {
  const DepthwiseCellsKernel& kernel = fastest(kDepthwiseCellsKernels, b.isa);
  const ConvShape& s = conv.shape;
  const DepthwiseLayout layout(s);
  const int64_t copy_bytes = (layout.cells() * 4 + 63) / 64 * 64;
  auto step = std::make_shared<DepthwiseStep>(DepthwiseStep{
      s, layout, &kernel, layout.offsets(), filled_up<int32_t>(conv.initial, s.in_channels),
      filled_up<float>(conv.scale, s.in_channels), filled_up<float>(conv.shift, s.in_channels),
      filled_up<int32_t>(conv.epilogue.multiplier, s.in_channels), filled_up<int32_t>(conv.epilogue.right_shift, s.in_channels),
      layout.taps(conv.byte_weights, kernel.form), layout.blocks(kernel.lanes), conv.epilogue, conv.fill * 0x01010101u,
      conv.x, conv.y, conv.residual, b.scratch(copy_bytes * b.threads)});
  const auto run = [step, copy_bytes](const Run& run) {
    run.pool->share(step->shape.batch * step->planes(), [&](int64_t begin, int64_t end, int worker) {
      auto* copy = reinterpret_cast<uint32_t*>(run.at<std::byte>(step->copies) + worker * copy_bytes);
      for (int64_t i = begin; i < end; ++i) step->run_plane(run, i / step->planes(), i % step->planes(), copy);
    });
  };
  const int64_t macs = s.batch * s.in_channels * s.pixels() * s.kernel_h * s.kernel_w;
  return {run, kernel.name, "", macs, static_cast<int64_t>(step->taps.size())};
}

}  // namespace gossamer
