#include "runtime/depthwise_pointwise.h"

#include <algorithm>

namespace gossamer {
namespace {

constexpr int64_t kSecondCache = 1 << 20;  // bytes
constexpr int64_t kStripBytes = kSecondCache / 4;
constexpr int64_t kWorthStrips = 2 * kSecondCache;  // from here on strips are as fast on Zen 4, and need less memory

// Rows `begin` .. `end` - 1 of the depthwise convolution's output, and the convolution that computes them alone.
struct Strip {
  int64_t begin, end, first_in;  // first_in: the first row of the input that they read
  ConvShape shape;
};

Strip strip_of(const ConvShape& whole, int64_t begin, int64_t end) {
  const int64_t top = begin * whole.stride_h - whole.pad_top;
  const int64_t behind = (end - 1) * whole.stride_h - whole.pad_top + (whole.kernel_h - 1) * whole.dilation_h + 1;
  Strip strip{begin, end, std::clamp<int64_t>(top, 0, whole.in_h), whole};
  strip.shape.in_h = std::clamp<int64_t>(behind, strip.first_in, whole.in_h) - strip.first_in;
  strip.shape.pad_top = strip.first_in - top;
  strip.shape.out_h = end - begin;
  return strip;
}

int64_t rows_of_strip(const ConvShape& s) {
  const int64_t row_bytes = (s.out_channels + 3) / 4 * s.out_w * 4;
  return std::clamp<int64_t>(kStripBytes / std::max<int64_t>(1, row_bytes), 1, s.out_h);
}

// The pointwise convolution of a strip of `rows` rows.
CellConv of_strip(const CellConv& pointwise, int64_t rows) {
  CellConv conv = pointwise;
  conv.shape.batch = 1;
  conv.shape.in_h = conv.shape.out_h = rows;
  return conv;
}

// Everything about a step but the pointers of a run.
struct StripStep {
  ConvShape depthwise, pointwise;
  int64_t rows;  // of a strip
  std::vector<Strip> strips;
  std::vector<DepthwisePlanes> planes;  // of each strip
  const CellKernel* kernel;
  std::shared_ptr<const CellWeights> weights;
  CellPositions positions;  // of a whole strip
  CellChannels channels;
  CellEpilogue epilogue;
  int64_t copy_bytes, strip_bytes;
  Slot x, y, residual, copies, between;

  void run(const Run& run) const;
  void first(const Run& run, int64_t image, size_t strip, uint32_t* copy, uint32_t* between) const;
  void second(const Run& run, int64_t image, const Strip& strip, const uint32_t* between) const;
};

void StripStep::first(const Run& run, int64_t image, size_t strip, uint32_t* copy, uint32_t* to) const {
  const int64_t count = (depthwise.in_channels + 3) / 4, plane_cells = depthwise.in_h * depthwise.in_w;
  const uint32_t* from = run.at<uint32_t>(x) + image * count * plane_cells + strips[strip].first_in * depthwise.in_w;
  for (int64_t plane = 0; plane < count; ++plane) {
    planes[strip].run(from + plane * plane_cells, nullptr, plane, copy, to + plane * rows * depthwise.out_w);
  }
}

void StripStep::second(const Run& run, int64_t image, const Strip& strip, const uint32_t* from) const {
  const int64_t place = image * ((pointwise.out_channels + 3) / 4) * pointwise.pixels() + strip.begin * pointwise.out_w;
  CellConvArgs a;
  a.in = from;
  a.weights = weights->view();
  a.at = positions;
  a.at.count = (strip.end - strip.begin) * pointwise.out_w;
  channels.give(a, epilogue);
  a.residual = residual == kNoSlot ? nullptr : run.at<uint32_t>(residual) + place;
  a.out = run.at<uint32_t>(y) + place;
  a.out_plane = pointwise.pixels();
  const int64_t tile = kernel->tile(weights->group_rows);
  a.tile_end = (a.at.count + tile - 1) / tile;
  a.unit_end = (pointwise.out_channels + kCellUnit - 1) / kCellUnit;
  kernel->run(a);
}

void StripStep::run(const Run& run) const {
  const auto count = static_cast<int64_t>(strips.size());
  run.pool->share(depthwise.batch * count, [&](int64_t begin, int64_t end, int worker) {
    auto* copy = reinterpret_cast<uint32_t*>(run.at<std::byte>(copies) + worker * copy_bytes);
    auto* strip = reinterpret_cast<uint32_t*>(run.at<std::byte>(between) + worker * strip_bytes);
    for (int64_t i = begin; i < end; ++i) {
      first(run, i / count, static_cast<size_t>(i % count), copy, strip);
      second(run, i / count, strips[static_cast<size_t>(i % count)], strip);
    }
  });
}

int64_t whole_lines(int64_t bytes) { return (bytes + 63) / 64 * 64; }

}  // namespace

bool is_worth_strips(int64_t bytes) { return bytes > kWorthStrips; }

Step depthwise_pointwise_step(Build& b, const CellConv& depthwise, const CellConv& pointwise) {
  const ConvShape &d = depthwise.shape, &p = pointwise.shape;
  const DepthwiseCellsKernel& windows = fastest(kDepthwiseCellsKernels, b.isa);
  const CellKernel& kernel = fastest(kCellByteKernels, b.isa);
  const int64_t rows = rows_of_strip(d);
  const CellConv of_one = of_strip(pointwise, rows);
  const CellPlanes layout(of_one.shape, (p.in_channels + 3) / 4);
  auto step = std::make_shared<StripStep>(StripStep{
      d, p, rows, {}, {}, &kernel, packed_cell_weights(b, of_one, layout, kernel.form), layout.positions(), CellChannels(pointwise),
      pointwise.epilogue, 0, 0, depthwise.x, pointwise.y, pointwise.residual, kNoSlot, kNoSlot});
  const auto taps = std::make_shared<const DepthwiseChannels>(depthwise, windows.form);
  for (int64_t begin = 0; begin < d.out_h; begin += rows) {
    step->strips.push_back(strip_of(d, begin, std::min(begin + rows, d.out_h)));
    step->planes.emplace_back(step->strips.back().shape, depthwise, windows, taps);
    step->copy_bytes = std::max(step->copy_bytes, whole_lines(step->planes.back().copy_cells() * 4));
  }
  step->strip_bytes = whole_lines(((p.in_channels + 3) / 4 * rows * d.out_w + kCellSlack) * 4);
  step->copies = b.scratch(step->copy_bytes * b.threads);
  step->between = b.scratch(step->strip_bytes * b.threads);
  const CellWeights& w = *step->weights;
  const int64_t macs = d.batch * (d.in_channels * d.pixels() * d.kernel_h * d.kernel_w + p.pixels() * w.kept * 4);
  return {[step](const Run& run) { step->run(run); }, std::string(windows.name) + " and " + kernel.name, "", macs,
          w.bytes() + static_cast<int64_t>(taps->taps.size())};
}

}  // namespace gossamer
