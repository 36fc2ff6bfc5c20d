#include "runtime/cell_conv.h"

#include <algorithm>

namespace gossamer {
namespace {

// Everything about a step but the pointers of a run.
struct CellStep {
  ConvShape shape;
  CellPlanes planes;
  const CellKernel* kernel;
  std::shared_ptr<const CellWeights> weights;
  std::vector<int32_t> initial;  // floats have the same size
  std::vector<float> scale, shift;
  CellEpilogue epilogue;
  bool bytes, float_out;
  uint32_t fill;
  int64_t in_planes;
  Slot x, y, residual, copy;

  int64_t in_image() const { return in_planes * shape.in_h * shape.in_w; }  // cells
  int64_t out_image() const {
    const bool cells = bytes && !float_out;
    return (cells ? (shape.out_channels + 3) / 4 : shape.out_channels) * shape.pixels();
  }
  CellConvArgs args(const Run& run, int64_t image) const;
  void run(const Run& run) const;
};

CellConvArgs CellStep::args(const Run& run, int64_t image) const {
  CellConvArgs a;
  a.in = run.at<uint32_t>(copy == kNoSlot ? x : copy) + (copy == kNoSlot ? image * in_image() : 0);
  a.weights = weights->view();
  a.at = planes.positions();
  a.initial = initial.data();
  a.epilogue = epilogue;
  a.epilogue.scale = scale.data();
  a.epilogue.shift = shift.data();
  a.residual = residual == kNoSlot ? nullptr : run.at<uint32_t>(residual) + image * out_image();
  a.out = run.at<uint32_t>(y) + image * out_image();
  a.float_out = float_out;
  const int64_t tile = kernel->tile(weights->group_rows);
  a.tile_end = (a.at.count + tile - 1) / tile;
  a.unit_end = (shape.out_channels + kCellUnit - 1) / kCellUnit;
  return a;
}

void CellStep::run(const Run& run) const {
  for (int64_t image = 0; image < shape.batch; ++image) {
    if (copy != kNoSlot) {
      run.pool->share(in_planes, [&](int64_t begin, int64_t end, int) {
        planes.copy(run.at<uint32_t>(x) + image * in_image(), fill, run.at<uint32_t>(copy), begin, end);
      });
    }
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
  if (values) std::copy_n(static_cast<const Element*>(values), rows, all.begin());
  return all;
}

std::string key(const CellConv& conv, const CellPlanes& planes) {
  std::string text = "cells:" + std::to_string(conv.weight_value) + (planes.copies() ? ":copied" : "");
  const ConvShape& s = conv.shape;
  for (const int64_t size : {s.in_h, s.in_w, s.stride_h, s.stride_w, s.dilation_h, s.dilation_w, s.pad_top, s.pad_left, s.groups, s.out_h, s.out_w}) {
    text += ":" + std::to_string(size);
  }
  return text;
}

std::shared_ptr<const CellWeights> packed_weights(Build& b, const CellConv& conv, const CellPlanes& planes, CellForm form) {
  const auto made = b.packed.get(key(conv, planes), [&]() -> PackedWeights::Memory {
    return std::make_shared<const CellWeights>(
        conv.byte_weights ? pack_cell_weights(conv.shape, planes, conv.byte_weights, form)
                          : pack_cell_weights(conv.shape, planes, conv.float_weights));
  });
  return std::static_pointer_cast<const CellWeights>(made);
}

}  // namespace

Step cell_conv_step(Build& b, const CellConv& conv) {
  const bool bytes = conv.byte_weights;
  const CellKernel& kernel = bytes ? fastest(kCellByteKernels, b.isa) : fastest(kCellFloatKernels, b.isa);
  const ConvShape& s = conv.shape;
  const int64_t in_planes = bytes ? (s.in_channels + 3) / 4 : s.in_channels;
  const CellPlanes planes(s, in_planes, b.in_arena(conv.x));
  auto step = std::make_shared<CellStep>(CellStep{
      s, planes, &kernel, packed_weights(b, conv, planes, kernel.form), filled_up<int32_t>(conv.initial, s.out_channels),
      filled_up<float>(conv.scale, s.out_channels), filled_up<float>(conv.shift, s.out_channels), conv.epilogue, bytes,
      conv.float_out, bytes ? conv.fill * 0x01010101u : 0u, in_planes, conv.x, conv.y, conv.residual,
      planes.copies() ? b.scratch(planes.cells() * 4) : kNoSlot});
  const CellWeights& w = *step->weights;
  const int64_t macs = s.batch * s.pixels() * w.kept * (bytes ? 4 : 1);
  return {[step](const Run& run) { step->run(run); }, kernel.name, "", macs, w.bytes()};
}

}  // namespace gossamer
