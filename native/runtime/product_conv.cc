#include "runtime/product_conv.h"

#include <algorithm>

#include "kernels/qgemm/qgemm.h"

namespace gossamer {
namespace {

// The weights as the product reads them, and the tables that say where its left factor lies (in bytes).
struct Packed {
  std::vector<int64_t> pixel_offset, cell_offset;
  std::shared_ptr<std::byte[]> weights;
  int64_t bytes = 0;
};

// Rows of weights with their channels in cells: [out_channels][plane][tap][4].
std::vector<int8_t> rows_of_cells(const ConvShape& s, const int8_t* weights, int64_t planes) {
  const int64_t taps = s.kernel_h * s.kernel_w;
  std::vector<int8_t> rows(static_cast<size_t>(s.out_channels * planes * taps * 4));
  for (int64_t o = 0; o < s.out_channels; ++o)
    for (int64_t c = 0; c < s.in_channels; ++c)
      for (int64_t tap = 0; tap < taps; ++tap) {
        rows[static_cast<size_t>(((o * planes + c / 4) * taps + tap) * 4 + c % 4)] = weights[(o * s.in_channels + c) * taps + tap];
      }
  return rows;
}

std::shared_ptr<const Packed> pack(const CellConv& conv, const CellPlanes& planes, int64_t in_planes, int width) {
  const ConvShape& s = conv.shape;
  auto packed = std::make_shared<Packed>();
  const int64_t pitch = planes.positions().pitch;
  for (int64_t i = 0; i < s.out_h; ++i)
    for (int64_t j = 0; j < s.out_w; ++j) packed->pixel_offset.push_back(4 * (i * pitch + j));
  for (int64_t plane = 0; plane < in_planes; ++plane)
    for (int64_t u = 0; u < s.kernel_h; ++u)
      for (int64_t v = 0; v < s.kernel_w; ++v) packed->cell_offset.push_back(4 * planes.offset(plane, u, v));
  const auto cells = static_cast<int64_t>(packed->cell_offset.size());
  const std::vector<int8_t> rows = rows_of_cells(s, conv.byte_weights, in_planes);
  packed->bytes = packed_weights_s8_size(s.out_channels, cells, width);
  packed->weights = allocate(packed->bytes);
  pack_weights_s8(s.out_channels, 4 * cells, rows.data(), 4 * cells, 1, width, reinterpret_cast<int8_t*>(packed->weights.get()));
  return packed;
}

struct Factors {
  std::vector<int32_t> bias, multiplier, right_shift;
  std::vector<float> scale, shift;
};

template <class Element>
std::vector<Element> of_channels(const void* values, int64_t channels) {
  const auto* first = static_cast<const Element*>(values);
  return first ? std::vector<Element>(first, first + channels) : std::vector<Element>();
}

Factors factors_of(const CellConv& conv) {
  const CellEpilogue& e = conv.epilogue;
  const int64_t n = conv.shape.out_channels;
  return {of_channels<int32_t>(conv.initial, n), of_channels<int32_t>(e.multiplier, n), of_channels<int32_t>(e.right_shift, n),
          of_channels<float>(conv.scale, n), of_channels<float>(conv.shift, n)};
}

QgemmEdge edge_of(const CellConv& conv, const Factors& factors) {
  const CellEpilogue& e = conv.epilogue;
  QgemmEdge edge;
  edge.output = e.multiplier ? QgemmOutput::fixed_point : QgemmOutput::bytes;
  edge.bias = factors.bias.data();
  edge.multiplier = factors.multiplier.data();
  edge.right_shift = factors.right_shift.data();
  edge.scale = factors.scale.data();
  edge.shift = factors.shift.data();
  edge.rounds_mid = e.rounds_mid;
  edge.mid_low = e.mid_low;
  edge.mid_high = e.mid_high;
  edge.keep = e.keep;
  edge.residual_scale = e.residual_scale;
  edge.residual_shift = e.residual_shift;
  edge.zero = e.zero;
  edge.least = static_cast<int32_t>(e.low);
  edge.most = static_cast<int32_t>(e.high);
  return edge;
}

struct ProductStep {
  ConvShape shape;
  CellPlanes planes;
  std::shared_ptr<const Packed> packed;
  const QgemmKernel* kernel;
  Factors factors;
  QgemmEdge edge;
  int64_t in_planes;
  CellCopy copy;
  Slot y, residual;

  void run(const Run& run) const {
    for (int64_t image = 0; image < shape.batch; ++image) run_image(run, image);
  }
  void run_image(const Run& run, int64_t image) const;
};

void ProductStep::run_image(const Run& run, int64_t image) const {
  const int64_t out_image = (shape.out_channels + 3) / 4 * shape.pixels() * 4;
  QgemmArgs whole;
  whole.m = shape.pixels();
  whole.n = shape.out_channels;
  whole.cells = static_cast<int64_t>(packed->cell_offset.size());
  whole.a = reinterpret_cast<const uint8_t*>(copy.input(run, planes, in_planes, shape, image));
  whole.pixel_offset = packed->pixel_offset.data();
  whole.cell_offset = packed->cell_offset.data();
  whole.b = reinterpret_cast<const int8_t*>(packed->weights.get());
  whole.edge = edge;
  if (residual != kNoSlot) whole.edge.residual = run.at<uint8_t>(residual) + image * out_image;
  whole.y = run.at<uint8_t>(y) + image * out_image;
  whole.y_pixel = 4;
  whole.y_cell = 4 * whole.m;
  const int64_t height = tile_height(whole.m, kernel->tile.rows);
  whole.tile_end = (whole.m + height - 1) / height;
  whole.panel_end = panel_count(whole.n, kernel->tile.width);
  run.pool->share(whole.panel_end, [&](int64_t begin, int64_t end, int) {
    QgemmArgs part = whole;
    part.panel_begin = begin;
    part.panel_end = end;
    kernel->run(part);
  });
}

}  // namespace

// Cycles for a vector of 16 results, measured on Zen 4: one for each cell of weights, and what follows the sum. A product's
// vectors are of output channels, those of cells of positions; both have places that no result fills.
bool prefers_product(const CellConv& conv, const CellPlanes& planes, int lanes) {
  const ConvShape& s = conv.shape;
  if (s.groups > 1 || conv.float_out || conv.sums_out) return false;
  const auto cells = static_cast<double>((s.in_channels + 3) / 4 * s.kernel_h * s.kernel_w);
  const auto waste = [lanes](int64_t places, int64_t results) {
    return static_cast<double>((places + lanes - 1) / lanes * lanes) / static_cast<double>(results);
  };
  const double product = waste(s.out_channels, s.out_channels) * (1.03 * cells + 18);
  return product < waste(planes.positions().count, s.pixels()) * (1.05 * cells + 5);
}

Step product_conv_step(Build& b, const CellConv& conv, const CellPlanes& planes) {
  const ConvShape& s = conv.shape;
  const int64_t in_planes = (s.in_channels + 3) / 4;
  const QgemmKernel& kernel = fastest(kQgemmKernels, b.isa);
  const auto made = b.packed.get("product:" + cell_conv_key(conv, planes), [&]() -> PackedWeights::Memory {
    return pack(conv, planes, in_planes, kernel.tile.width);
  });
  auto step = std::make_shared<ProductStep>(ProductStep{
      s, planes, std::static_pointer_cast<const Packed>(made), &kernel, factors_of(conv), {}, in_planes,
      CellCopy(b, conv, planes), conv.y, conv.residual});
  step->edge = edge_of(conv, step->factors);
  return {[step](const Run& run) { step->run(run); }, kernel.name, "",
          s.batch * s.pixels() * s.out_channels * s.depth(), step->packed->bytes};
}

}  // namespace gossamer
