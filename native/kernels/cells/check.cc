// The check entries of the family: rows on row-major tensors.
#include <cstring>

#include "kernels/cells/reference.h"
#include "kernels/cells/weights.h"
#include "kernels/cells/plain.h"
#include "kernels/check.h"
#include "kernels/conv/reference.h"
#include "kernels/find_row.h"

namespace gossamer {
namespace {

// Runs the kernel on one image whose cells are `in`, copied first where the window asks for it.
void convolve_image(const CellKernel& row, const CellPlanes& planes, int64_t count, uint32_t fill, std::vector<uint32_t> in,
                    CellConvArgs a) {
  if (planes.copies()) {
    std::vector<uint32_t> copy(static_cast<size_t>(planes.cells()));
    planes.copy(in.data(), fill, copy.data(), 0, count);
    in = std::move(copy);
  }
  a.in = in.data();
  a.at = planes.positions();
  const int64_t tile = row.tile(a.weights.group_rows);
  a.tile_end = (a.at.count + tile - 1) / tile;
  a.unit_end = (a.weights.rows + kCellUnit - 1) / kCellUnit;
  row.run(a);
}

}  // namespace

void check_cell_floats(const std::string& name, ConvArgs args) {
  const CellKernel* row = find_row(kCellFloatKernels, name);
  if (!row) return conv_reference(args);
  const ConvShape& s = args.shape;
  const CellPlanes planes(s, s.in_channels);
  const CellWeights weights = pack_cell_weights(s, planes, args.weights);
  const std::vector<float> bias = filled_up(args.bias, s.out_channels);
  for (int64_t n = 0; n < s.batch; ++n) {
    std::vector<uint32_t> in(static_cast<size_t>(s.in_channels * s.in_h * s.in_w + kCellSlack));
    std::memcpy(in.data(), args.x + n * s.in_channels * s.in_h * s.in_w, (in.size() - kCellSlack) * 4);
    CellConvArgs a;
    a.weights = weights.view();
    a.initial = bias.data();
    a.epilogue.low = args.low;
    a.epilogue.high = args.high;
    const int64_t place = n * s.out_channels * s.pixels();
    a.residual = args.residual ? args.residual + place : nullptr;
    a.out = args.y + place;
    convolve_image(*row, planes, s.in_channels, 0, std::move(in), a);
  }
}

void check_cell_bytes(const std::string& name, CellBytesCheck args) {
  const CellKernel* row = find_row(kCellByteKernels, name);
  if (!row) return cell_bytes_reference(args);
  const ConvShape& s = args.shape;
  const int64_t count = (s.in_channels + 3) / 4, pixels = s.pixels();
  const CellPlanes planes(s, count);
  const CellWeights weights = pack_cell_weights(s, planes, args.weights, row->form, args.group_rows);
  const auto initial = filled_up(args.initial, s.out_channels);
  const auto scale = filled_up(args.epilogue.scale, s.out_channels), shift = filled_up(args.epilogue.shift, s.out_channels);
  const auto multiplier = filled_up(args.epilogue.multiplier, s.out_channels), right_shift = filled_up(args.epilogue.right_shift, s.out_channels);
  for (int64_t n = 0; n < s.batch; ++n) {
    CellConvArgs a;
    a.weights = weights.view();
    a.initial = initial.data();
    a.epilogue = args.epilogue;
    a.epilogue.scale = scale.data();
    a.epilogue.shift = shift.data();
    if (args.epilogue.multiplier) {
      a.epilogue.multiplier = multiplier.data();
      a.epilogue.right_shift = right_shift.data();
    }
    a.float_out = args.float_out;
    a.sums_out = args.sums_out;
    const bool planes_out = args.float_out || args.sums_out;
    const int64_t place = n * s.out_channels * pixels;
    std::vector<uint32_t> residual, out(static_cast<size_t>((s.out_channels + 3) / 4 * pixels));
    a.out = planes_out ? static_cast<void*>(static_cast<float*>(args.y) + place) : out.data();  // int32 is as wide
    if (args.residual && args.float_out) a.residual = static_cast<const float*>(args.residual) + place;
    if (args.residual && !args.float_out) {
      residual = to_cells(static_cast<const uint8_t*>(args.residual) + place, s.out_channels, pixels);
      a.residual = residual.data();
    }
    const auto fill = static_cast<uint32_t>(args.x_zero) * 0x01010101u;
    convolve_image(*row, planes, count, fill, to_cells(args.x + n * s.in_channels * s.in_h * s.in_w, s.in_channels, s.in_h * s.in_w), a);
    if (!planes_out) from_cells(out, s.out_channels, pixels, static_cast<uint8_t*>(args.y) + place);
  }
}

}  // namespace gossamer
