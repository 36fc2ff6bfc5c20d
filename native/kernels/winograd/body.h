// Included once per instruction set, after simd/*.h, with kTile defined.
#pragma once

#include "kernels/conv/store.h"
#include "kernels/gemm/tile.h"
#include "kernels/winograd/transforms.h"
#include "kernels/winograd/winograd.h"

namespace {

constexpr int kLanes = V::kLanes;

constexpr int64_t kMostAhead = 8192;  // floats

// Weights are read once per block, from far away: asked for while the panel before them is multiplied.
struct StreamedRight {
  const float* b;
  int64_t ahead;
  void follow(int64_t) const {}
  V at(int64_t p, int64_t width, int64_t column) const {
    if (column % 16 == 0) __builtin_prefetch(b + p * width + column + ahead, 0, 3);
    return V::load(b + p * width + column);
  }
  static V multiply(V a, V b, V sum) { return fma(a, b, sum); }
};

constexpr Tiles<kTile.rows, kTile.width / kLanes, false, StreamedRight> kProductTiles;

// Tiles side by side in one row of tiles of one image: a part of a block.
struct Segment {
  int64_t image, tile_y, tile_x, count;
  int64_t at;  // of its first tile, in the block
};

// Calls visit(segment) for the tiles [first, first + count).
template <class Visit>
inline void for_segments(const gossamer::WinogradPlan& plan, int64_t first, int64_t count, const Visit& visit) {
  for (int64_t done = 0; done < count;) {
    const int64_t tile = first + done, row = tile / plan.tiles_x, column = tile % plan.tiles_x;
    const int64_t left = plan.tiles_x - column, length = left < count - done ? left : count - done;
    visit(Segment{row / plan.tiles_y, row % plan.tiles_y, column, length, done});
    done += length;
  }
}

// kLanes channels of a row of inputs, from column `first` on, zero outside [0, in_w), to `columns` vectors of channels.
// x: the first channel's row; `channels`: how many there are of the kLanes.
void stage_row(const float* x, int64_t plane, int channels, int64_t first, int64_t columns, int64_t in_w, float* to) {
  for (int64_t j = 0; j < columns; j += kLanes) {
    const auto lanes = V::lanes(-(first + j), in_w - (first + j));
    V rows[kLanes];
    for (int c = 0; c < kLanes; ++c) rows[c] = c < channels ? V::load(x + c * plane + first + j, lanes) : V::zero();
    transpose(rows);
    for (int t = 0; t < kLanes; ++t) rows[t].store(to + (j + t) * kLanes);  // up to kLanes - 1 vectors past `columns`
  }
}

// B^T d B of one tile of kLanes channels. `from`: its first input; `row`: floats between rows of the stage.
template <int kM>
inline void transform_input(const float* from, int64_t row, float* to, int64_t position) {
  constexpr int kN = kM + 2;
  V half[kN][kN], d[kN], t[kN];  // half: [row of B^T d][column]
  for (int j = 0; j < kN; ++j) {
    for (int i = 0; i < kN; ++i) d[i] = V::load(from + i * row + j * kLanes);
    Transforms<kM>::input(d, t);
    for (int i = 0; i < kN; ++i) half[i][j] = t[i];
  }
  for (int i = 0; i < kN; ++i) {
    Transforms<kM>::input(half[i], t);
    for (int j = 0; j < kN; ++j) t[j].store(to + (i * kN + j) * position);
  }
}

template <int kM>
void transform_segment_inputs(const gossamer::ConvArgs& a, const gossamer::WinogradPlan& plan, const Segment& segment) {
  const gossamer::ConvShape& s = a.shape;
  constexpr int64_t kN = kM + 2;
  const int64_t columns = segment.count * kM + 2, plane = s.in_h * s.in_w;
  const int64_t row = (columns + kLanes) * kLanes, left = segment.tile_x * kM - s.pad_left;
  float* stage = a.scratch + plan.stage;
  for (int64_t c = 0; c < s.in_channels; c += kLanes) {
    const int channels = static_cast<int>(s.in_channels - c < kLanes ? s.in_channels - c : kLanes);
    const float* x = a.x + (segment.image * s.in_channels + c) * plane;
    for (int64_t i = 0; i < kN; ++i) {
      const int64_t at = segment.tile_y * kM - s.pad_top + i;
      const bool inside = at >= 0 && at < s.in_h;
      stage_row(inside ? x + at * s.in_w : x, plane, inside ? channels : 0, left, columns, s.in_w, stage + i * row);
    }
    float* to = a.scratch + segment.at * plan.in_row + c;
    for (int64_t t = 0; t < segment.count; ++t) {
      transform_input<kM>(stage + t * kM * kLanes, row, to + t * plan.in_row, plan.in_position);
    }
  }
}

// Products of `count` tiles by the panels [panel, panel + panels), for every position.
template <int kM>
void multiply(const gossamer::ConvArgs& a, const gossamer::WinogradPlan& plan, int64_t count, int64_t panel, int64_t panels) {
  constexpr int64_t kPositions = (kM + 2) * (kM + 2), kWidth = kTile.width;
  const int64_t depth = a.shape.in_channels, height = gossamer::tile_height(count, kTile.rows);
  const TileEdge plain{nullptr, nullptr, nullptr, true, true, -__builtin_inff(), __builtin_inff()};
  const int64_t ahead = depth * kWidth < kMostAhead ? depth * kWidth : kMostAhead;
  const float* weights = a.weights + panel * kPositions * depth * kWidth;
  for (int64_t j = 0; j < panels; ++j) {
    for (int64_t position = 0; position < kPositions; ++position, weights += depth * kWidth) {
      const float* in = a.scratch + position * plan.in_position;
      float* out = a.scratch + plan.products + position * plan.out_position + j * kWidth;
      for (int64_t t = 0; t < count; t += height) {
        const int64_t rows = count - t < height ? count - t : height;
        kProductTiles.of[rows](depth, in + t * plan.in_row, plan.in_row, 1, {weights, ahead}, out + t * plan.out_row,
                               plan.out_row, static_cast<int>(kWidth), plain);
      }
    }
  }
}

// A^T p A of one tile of kLanes output channels.
template <int kM>
inline void transform_output(const float* from, int64_t position, float* to, int64_t row) {
  constexpr int kN = kM + 2;
  V half[kM][kN], p[kN], y[kM];  // half: [row of A^T p][column]
  for (int j = 0; j < kN; ++j) {
    for (int i = 0; i < kN; ++i) p[i] = V::load(from + (i * kN + j) * position);
    Transforms<kM>::output(p, y);
    for (int i = 0; i < kM; ++i) half[i][j] = y[i];
  }
  for (int i = 0; i < kM; ++i) {
    Transforms<kM>::output(half[i], y);
    for (int j = 0; j < kM; ++j) y[j].store(to + i * row + j * kLanes);
  }
}

// Output channels [channel, end) of a segment.
template <int kM>
void transform_segment_outputs(const gossamer::ConvArgs& a, const gossamer::WinogradPlan& plan, const Segment& segment,
                               int64_t channel, int64_t end) {
  const gossamer::ConvShape& s = a.shape;
  const int64_t x = segment.tile_x * kM, y = segment.tile_y * kM, row = (segment.count * kM + kLanes) * kLanes;
  const int64_t columns = s.out_w - x < segment.count * kM ? s.out_w - x : segment.count * kM;
  float* stage = a.scratch + plan.stage;
  const float* from = a.scratch + plan.products + segment.at * plan.out_row;
  for (int64_t o = channel; o < end; o += kLanes, from += kLanes) {
    const int channels = static_cast<int>(end - o < kLanes ? end - o : kLanes);
    for (int64_t t = 0; t < segment.count; ++t) {
      transform_output<kM>(from + t * plan.out_row, plan.out_position, stage + t * kM * kLanes, row);
    }
    const int64_t plane = (segment.image * s.out_channels + o) * s.pixels();
    for (int64_t i = 0; i < kM && y + i < s.out_h; ++i) {
      store_pixels(a, stage + i * row, kLanes, o, channels, plane + (y + i) * s.out_w + x, columns);
    }
  }
}

template <int kM>
void winograd(const gossamer::ConvArgs& a) {
  const gossamer::WinogradPlan plan = gossamer::winograd_plan(a.shape, kM, kTile);
  int64_t transformed = -1;  // the block whose inputs lie in scratch memory
  for (int64_t task = a.task_begin; task < a.task_end; ++task) {
    const int64_t block = task / plan.chunks, panel = task % plan.chunks * plan.chunk;
    const int64_t first = block * plan.block, left = plan.tiles - first, count = left < plan.block ? left : plan.block;
    if (block != transformed) {
      for_segments(plan, first, count, [&](const Segment& segment) { transform_segment_inputs<kM>(a, plan, segment); });
      transformed = block;
    }
    const int64_t panels = plan.panels - panel < plan.chunk ? plan.panels - panel : plan.chunk;
    multiply<kM>(a, plan, count, panel, panels);
    const int64_t channel = panel * kTile.width, most = a.shape.out_channels;
    const int64_t end = channel + panels * kTile.width < most ? channel + panels * kTile.width : most;
    for_segments(plan, first, count,
                 [&](const Segment& segment) { transform_segment_outputs<kM>(a, plan, segment, channel, end); });
  }
}

}  // namespace
