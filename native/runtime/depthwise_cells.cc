#include "runtime/depthwise_cells.h"

#include <algorithm>
#include <limits>

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
  DepthwisePlanes planes;
  int64_t copy_bytes;
  Slot x, y, residual, copies;

  void run(const Run& run) const {
    const int64_t count = (shape.in_channels + 3) / 4;
    run.pool->share(shape.batch * count, [&](int64_t begin, int64_t end, int worker) {
      auto* copy = reinterpret_cast<uint32_t*>(run.at<std::byte>(copies) + worker * copy_bytes);
      for (int64_t i = begin; i < end; ++i) {
        const uint32_t* other = residual == kNoSlot ? nullptr : run.at<uint32_t>(residual) + i * shape.pixels();
        planes.run(run.at<uint32_t>(x) + i * shape.in_h * shape.in_w, other, i % count, copy, run.at<uint32_t>(y) + i * shape.pixels());
      }
    });
  }
};

}  // namespace

DepthwiseChannels::DepthwiseChannels(const CellConv& conv, CellForm form)
    : initial(filled_up<int32_t>(conv.initial, conv.shape.in_channels)),
      multiplier(filled_up<int32_t>(conv.epilogue.multiplier, conv.shape.in_channels)),
      right_shift(filled_up<int32_t>(conv.epilogue.right_shift, conv.shape.in_channels)),
      scale(filled_up<float>(conv.scale, conv.shape.in_channels)), shift(filled_up<float>(conv.shift, conv.shape.in_channels)),
      taps(DepthwiseLayout(conv.shape).taps(conv.byte_weights, form)) {}

DepthwisePlanes::DepthwisePlanes(const ConvShape& shape, const CellConv& conv, const DepthwiseCellsKernel& kernel,
                                 std::shared_ptr<const DepthwiseChannels> channels)
    : layout_(shape), kernel_(&kernel), channels_(std::move(channels)), offsets_(layout_.offsets()), blocks_(layout_.blocks(kernel.lanes)),
      epilogue_(conv.epilogue), fill_(conv.fill * 0x01010101u) {}

void DepthwisePlanes::run(const uint32_t* in, const uint32_t* residual, int64_t plane, uint32_t* copy, uint32_t* out) const {
  layout_.copy(in, fill_, copy);
  DepthwiseCellsArgs a;
  a.in = copy;
  a.segments = static_cast<int>(offsets_.size());
  a.step = layout_.step();
  a.offsets = offsets_.data();
  a.taps = channels_->taps.data() + plane * a.segments * depthwise_tap_bytes(kernel_->form);
  a.blocks = blocks_.data();
  a.block_count = static_cast<int64_t>(blocks_.size());
  a.initial = channels_->initial.data() + 4 * plane;
  a.epilogue = epilogue_;
  a.epilogue.scale = channels_->scale.data() + 4 * plane;
  a.epilogue.shift = channels_->shift.data() + 4 * plane;
  if (epilogue_.multiplier) {
    a.epilogue.multiplier = channels_->multiplier.data() + 4 * plane;
    a.epilogue.right_shift = channels_->right_shift.data() + 4 * plane;
  }
  a.residual = residual;
  a.out = out;
  kernel_->run(a);
}

bool is_depthwise_of_cells(const CellConv& conv) {
  const ConvShape& s = conv.shape;
  if (!conv.byte_weights || conv.float_out || conv.sums_out || s.groups != s.in_channels || s.out_channels != s.in_channels) return false;
  if (s.stride_h > kMostStride || s.stride_w > kMostStride) return false;
  return DepthwiseLayout(s).cells() < std::numeric_limits<int32_t>::max() && s.pixels() < std::numeric_limits<int32_t>::max();
}

Step depthwise_cells_step(Build& b, const CellConv& conv) {
  const DepthwiseCellsKernel& kernel = fastest(kDepthwiseCellsKernels, b.isa);
  const ConvShape& s = conv.shape;
  const auto channels = std::make_shared<const DepthwiseChannels>(conv, kernel.form);
  const DepthwisePlanes planes(s, conv, kernel, channels);
  const int64_t copy_bytes = (planes.copy_cells() * 4 + 63) / 64 * 64;
  const auto step = std::make_shared<DepthwiseStep>(
      DepthwiseStep{s, planes, copy_bytes, conv.x, conv.y, conv.residual, b.scratch(copy_bytes * b.threads)});
  const int64_t macs = s.batch * s.in_channels * s.pixels() * s.kernel_h * s.kernel_w;
  return {[step](const Run& run) { step->run(run); }, kernel.name, "", macs, static_cast<int64_t>(channels->taps.size())};
}

}  // namespace gossamer
