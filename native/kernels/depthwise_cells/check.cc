#include "kernels/cells/plain.h"
#include "kernels/check.h"
#include "kernels/depthwise_cells/layout.h"
#include "kernels/find_row.h"

namespace gossamer {

void check_depthwise_cells(const std::string& name, CellBytesCheck args) {
  const DepthwiseCellsKernel* row = find_row(kDepthwiseCellsKernels, name);
  if (!row) return cell_bytes_reference(args);
  const ConvShape& s = args.shape;
  const DepthwiseLayout layout(s);
  const auto offsets = layout.offsets();
  const auto taps = layout.taps(args.weights, row->form);
  const auto blocks = layout.blocks(row->lanes);
  const auto initial = filled_up(args.initial, s.in_channels);
  const auto scale = filled_up(args.epilogue.scale, s.in_channels), shift = filled_up(args.epilogue.shift, s.in_channels);
  const auto multiplier = filled_up(args.epilogue.multiplier, s.in_channels), right_shift = filled_up(args.epilogue.right_shift, s.in_channels);
  const int64_t planes = (s.in_channels + 3) / 4, in_pixels = s.in_h * s.in_w, place = s.in_channels * s.pixels();
  for (int64_t n = 0; n < s.batch; ++n) {
    const auto in = to_cells(args.x + n * s.in_channels * in_pixels, s.in_channels, in_pixels);
    std::vector<uint32_t> residual, out(static_cast<size_t>(planes * s.pixels()));
    if (args.residual) residual = to_cells(static_cast<const uint8_t*>(args.residual) + n * place, s.in_channels, s.pixels());
    for (int64_t plane = 0; plane < planes; ++plane) {
      std::vector<uint32_t> copy(static_cast<size_t>(layout.cells()));
      layout.copy(in.data() + plane * in_pixels, static_cast<uint32_t>(args.x_zero) * 0x01010101u, copy.data());
      DepthwiseCellsArgs a;
      a.in = copy.data();
      a.segments = static_cast<int>(offsets.size());
      a.step = layout.step();
      a.offsets = offsets.data();
      a.taps = taps.data() + plane * a.segments * depthwise_tap_bytes(row->form);
      a.blocks = blocks.data();
      a.block_count = static_cast<int64_t>(blocks.size());
      a.initial = initial.data() + 4 * plane;
      a.epilogue = args.epilogue;
      a.epilogue.scale = scale.data() + 4 * plane;
      a.epilogue.shift = shift.data() + 4 * plane;
      if (args.epilogue.multiplier) {
        a.epilogue.multiplier = multiplier.data() + 4 * plane;
        a.epilogue.right_shift = right_shift.data() + 4 * plane;
      }
      a.residual = args.residual ? residual.data() + plane * s.pixels() : nullptr;
      a.out = out.data() + plane * s.pixels();
      row->run(a);
    }
    from_cells(out, s.in_channels, s.pixels(), static_cast<uint8_t*>(args.y) + n * place);
  }
}

}  // namespace gossamer
