#include "runtime/cell_conv.h"

#include <algorithm>
#include <cstring>

#include "runtime/product_conv.h"

namespace gossamer {
namespace {

// Everything about a step but the pointers of a run.
struct CellStep {
  ConvShape shape;
  CellPlanes planes;
  const CellKernel* kernel;
  std::shared_ptr<const CellWeights> weights;
  CellChannels channels;
  CellEpilogue epilogue;
  bool bytes, float_out, sums_out;
  int64_t in_planes;
  CellCopy copy;
  Slot y, residual;

  int64_t out_image() const {
    const bool cells = bytes && !float_out && !sums_out;
    return (cells ? (shape.out_channels + 3) / 4 : shape.out_channels) * shape.pixels();
  }
  CellConvArgs args(const Run& run, int64_t image) const;
  void run(const Run& run) const;
};

CellConvArgs CellStep::args(const Run& run, int64_t image) const {
  CellConvArgs a;
  a.in = copy.input(run, planes, in_planes, shape, image);
  a.weights = weights->view();
  a.at = planes.positions();
  channels.give(a, epilogue);
  a.residual = residual == kNoSlot ? nullptr : run.at<uint32_t>(residual) + image * out_image();
  a.out = run.at<uint32_t>(y) + image * out_image();
  a.float_out = float_out;
  a.sums_out = sums_out;
  const int64_t tile = kernel->tile(weights->group_rows);
  a.tile_end = (a.at.count + tile - 1) / tile;
  a.unit_end = (shape.out_channels + kCellUnit - 1) / kCellUnit;
  return a;
}

void CellStep::run(const Run& run) const {
  for (int64_t image = 0; image < shape.batch; ++image) {
    const CellConvArgs whole = args(run, image);
    const bool by_tiles = whole.tile_end >= 4 * run.pool->threads();
    run.pool->share(by_tiles ? whole.tile_end : whole.unit_end, [&](int64_t begin, int64_t end, int) {
      CellConvArgs part = whole;
      (by_tiles ? part.tile_begin : part.unit_begin) = begin;
      (by_tiles ? part.tile_end : part.unit_end) = end;
      kernel->run(part);
    });
  }
}

template <class Element>
std::vector<Element> filled_up(const void* values, int64_t rows) {
  std::vector<Element> all(static_cast<size_t>((rows + kCellUnit - 1) / kCellUnit * kCellUnit));
  if (values) std::memcpy(all.data(), values, static_cast<size_t>(rows) * sizeof(Element));
  return all;
}

// Whether most cells of weights are there, so that leaving out the others brings nothing.
bool is_dense(const CellWeights& w) { return 10 * w.kept > 8 * w.all; }

}  // namespace

CellChannels::CellChannels(const CellConv& conv)
    : initial(filled_up<int32_t>(conv.initial, conv.shape.out_channels)),
      multiplier(filled_up<int32_t>(conv.epilogue.multiplier, conv.shape.out_channels)),
      right_shift(filled_up<int32_t>(conv.epilogue.right_shift, conv.shape.out_channels)),
      scale(filled_up<float>(conv.scale, conv.shape.out_channels)), shift(filled_up<float>(conv.shift, conv.shape.out_channels)) {}

void CellChannels::give(CellConvArgs& a, const CellEpilogue& epilogue) const {
  a.initial = initial.data();
  a.epilogue = epilogue;
  a.epilogue.scale = scale.data();
  a.epilogue.shift = shift.data();
  if (!epilogue.multiplier) return;
  a.epilogue.multiplier = multiplier.data();
  a.epilogue.right_shift = right_shift.data();
}

std::shared_ptr<const CellWeights> packed_cell_weights(Build& b, const CellConv& conv, const CellPlanes& planes, CellForm form) {
  const auto made = b.packed.get("cells:" + cell_conv_key(conv, planes), [&]() -> PackedWeights::Memory {
    return std::make_shared<const CellWeights>(
        conv.byte_weights ? pack_cell_weights(conv.shape, planes, conv.byte_weights, form)
                          : pack_cell_weights(conv.shape, planes, conv.float_weights));
  });
  return std::static_pointer_cast<const CellWeights>(made);
}

CellCopy::CellCopy(Build& b, const CellConv& conv, const CellPlanes& planes)
    : x_(conv.x), copy_(planes.copies() ? b.scratch(planes.cells() * 4) : kNoSlot), fill_(conv.byte_weights ? conv.fill * 0x01010101u : 0u) {}

const uint32_t* CellCopy::input(const Run& run, const CellPlanes& planes, int64_t in_planes, const ConvShape& s, int64_t image) const {
  const uint32_t* x = run.at<uint32_t>(x_) + image * in_planes * s.in_h * s.in_w;
  if (copy_ == kNoSlot) return x;
  uint32_t* copy = run.at<uint32_t>(copy_);
  run.pool->share(in_planes, [&](int64_t begin, int64_t end, int) { planes.copy(x, fill_, copy, begin, end); });
  return copy;
}

std::string cell_conv_key(const CellConv& conv, const CellPlanes& planes) {
  std::string text = std::to_string(conv.weight_value) + (planes.copies() ? ":copied" : "");
  const ConvShape& s = conv.shape;
  for (const int64_t size : {s.in_h, s.in_w, s.stride_h, s.stride_w, s.dilation_h, s.dilation_w, s.pad_top, s.pad_left, s.groups, s.out_h, s.out_w}) {
    text += ":" + std::to_string(size);
  }
  return text;
}

Step cell_conv_step(Build& b, const CellConv& conv) {
  const bool bytes = conv.byte_weights;
  const CellKernel& kernel = bytes ? fastest(kCellByteKernels, b.isa) : fastest(kCellFloatKernels, b.isa);
  const ConvShape& s = conv.shape;
  const int64_t in_planes = bytes ? (s.in_channels + 3) / 4 : s.in_channels;
  const CellPlanes planes(s, in_planes, b.in_arena(conv.x));
  const auto weights = packed_cell_weights(b, conv, planes, kernel.form);
  if (bytes && is_dense(*weights) && prefers_product(conv, planes, kernel.lanes)) return product_conv_step(b, conv, planes);
  auto step = std::make_shared<CellStep>(CellStep{
      s, planes, &kernel, weights, CellChannels(conv), conv.epilogue, bytes, conv.float_out, conv.sums_out, in_planes, CellCopy(b, conv, planes), conv.y, conv.residual});
  const CellWeights& w = *step->weights;
  const int64_t macs = s.batch * s.pixels() * w.kept * (bytes ? 4 : 1);
  return {[step](const Run& run) { step->run(run); }, kernel.name, "", macs, w.bytes()};
}

}  // namespace gossamer
