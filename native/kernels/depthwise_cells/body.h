// The kernel in the words of bytes_*.h, which define
//   Cells, Taps   a vector of kLanes cells; a segment's weights for the four channels of each cell
//   Quad          for each of four vectors: kLanes sums, those of the four channels of kLanes / 4 pixels
#pragma once

#include "kernels/depthwise_cells/depthwise_cells.h"

namespace {

// What is the same for all pixels of a plane.
struct Channels {
  Sum initial;
  Floats scale, shift;
};

// Equation (1), one segment. Vector i holds the pixels 4 l + i of a block at its lane l (step 1), or 2 l + i % 2 +
// kLanes / 2 (i / 2) (step 2): what one load has within each 16 bytes.
template <int kStep>
inline void add_segment(const uint32_t* in, const Taps& taps, Sum (&sums)[4]) {
  if constexpr (kStep == 1) {
    const Cells first = load_cells(in), second = load_cells(in + 2);
    sums[0] = multiply<0>(first, taps, sums[0]);
    sums[1] = multiply<1>(first, taps, sums[1]);
    sums[2] = multiply<0>(second, taps, sums[2]);
    sums[3] = multiply<1>(second, taps, sums[3]);
  } else {
    sums[0] = multiply<0>(load_cells(in), taps, sums[0]);
    sums[1] = multiply<0>(load_cells(in + 2), taps, sums[1]);
    sums[2] = multiply<0>(load_cells(in + kLanes), taps, sums[2]);
    sums[3] = multiply<0>(load_cells(in + kLanes + 2), taps, sums[3]);
  }
}

template <int kVector>
inline Floats with_residual(const gossamer::CellEpilogue& e, Floats t, Bytes residual) {
  const Floats q = multiply_add(bytes_of<kVector>(residual), broadcast(e.residual_scale), broadcast(e.residual_shift));
  if (e.rounds_mid) t = clamp(round(t), broadcast(e.mid_low), broadcast(e.mid_high));
  return multiply_add(t, broadcast(e.keep), q);
}

template <int kStep>
inline void finish(const gossamer::DepthwiseCellsArgs& a, const Channels& channels, const gossamer::CellBlock& block,
                   const Sum (&sums)[4]) {
  const gossamer::CellEpilogue& e = a.epilogue;
  Floats t[4];
  if (e.multiplier) {
    const Sum multiplier = load_sums(e.multiplier), right_shift = load_sums(e.right_shift);
    for (int i = 0; i < 4; ++i) t[i] = to_floats(fixed_point_16(sums[i], multiplier, right_shift));
  } else {
    for (int i = 0; i < 4; ++i) t[i] = multiply_add(to_floats(sums[i]), channels.scale, channels.shift);
  }
  if (a.residual) {
    const Bytes q = to_lanes<kStep>(load_pixels(a.residual + block.pixel, block));
    t[0] = with_residual<0>(e, t[0], q);
    t[1] = with_residual<1>(e, t[1], q);
    t[2] = with_residual<2>(e, t[2], q);
    t[3] = with_residual<3>(e, t[3], q);
  }
  Bytes cells = to_cells(t, e.zero);
  if (e.low > 0 || e.high < 255) cells = clamp_bytes(cells, static_cast<int>(e.low), static_cast<int>(e.high));
  store_pixels(from_lanes<kStep>(cells), a.out + block.pixel, block);
}

// kSegments: their number where it is known and few, so that their weights stay in registers; else 0.
template <int kStep, int kSegments>
inline void plane(const gossamer::DepthwiseCellsArgs& a) {
  const Channels channels{load_sums(a.initial), load_floats(a.epilogue.scale), load_floats(a.epilogue.shift)};
  constexpr int kKept = kSegments ? kSegments : 1;
  const char* weights = static_cast<const char*>(a.taps);
  Taps kept[kKept];
  int64_t offsets[kKept];
  for (int s = 0; s < kSegments; ++s) {
    kept[s] = load_taps(weights + s * kTapBytes);
    offsets[s] = a.offsets[s];
  }
  const uint32_t* in = a.in;
  for (int64_t b = 0; b < a.block_count; ++b, in += kStep * kLanes) {
    Sum sums[4] = {channels.initial, channels.initial, channels.initial, channels.initial};
    if constexpr (kSegments > 0) {
      for (int s = 0; s < kSegments; ++s) add_segment<kStep>(in + offsets[s], kept[s], sums);
    } else {
      for (int s = 0; s < a.segments; ++s) add_segment<kStep>(in + a.offsets[s], load_taps(weights + s * kTapBytes), sums);
    }
    finish<kStep>(a, channels, a.blocks[b], sums);
  }
}

inline void convolve_depthwise(const gossamer::DepthwiseCellsArgs& a) {
  if (a.step == 1) return a.segments == 3 ? plane<1, 3>(a) : plane<1, 0>(a);
  a.segments == 3 ? plane<2, 3>(a) : plane<2, 0>(a);
}

}  // namespace
