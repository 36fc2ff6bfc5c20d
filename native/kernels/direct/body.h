// Included once per instruction set, after simd/*.h, with kTile defined.
#pragma once

#include "kernels/conv/store.h"
#include "kernels/direct/direct.h"

namespace {

constexpr int64_t kWidth = kTile.width;
constexpr int kVectors = kTile.width / V::kLanes;
constexpr int64_t kDepthBlock = 256;  // steps of K: 32 KiB of weights with AVX-512

// kPixels pixels, kStride floats apart (0: known at run time), by one panel. `first`: the sums start from zero.
template <int kPixels, int kStride>
void direct_tile(int64_t depth, const float* x, int64_t stride, const int64_t* offsets, const float* w, float* sums, bool first) {
  V sum[kPixels][kVectors];
  for (int i = 0; i < kPixels; ++i)
    for (int j = 0; j < kVectors; ++j) sum[i][j] = first ? V::zero() : V::load(sums + i * kWidth + j * V::kLanes);
  for (int64_t p = 0; p < depth; ++p, w += kWidth) {
    V weights[kVectors];
    for (int j = 0; j < kVectors; ++j) weights[j] = V::load(w + j * V::kLanes);
    const float* from = x + offsets[p];
    for (int i = 0; i < kPixels; ++i) {
      const V scalar = V::broadcast(from[i * (kStride ? kStride : stride)]);
      for (int j = 0; j < kVectors; ++j) sum[i][j] = fma(scalar, weights[j], sum[i][j]);
    }
  }
  for (int i = 0; i < kPixels; ++i)
    for (int j = 0; j < kVectors; ++j) sum[i][j].store(sums + i * kWidth + j * V::kLanes);
}

using DirectTile = void (*)(int64_t, const float*, int64_t, const int64_t*, const float*, float*, bool);

template <int kStride>
struct DirectTiles {
  DirectTile of[kTile.rows + 1];
  constexpr DirectTiles() : of{} { fill<kTile.rows>(); }
  template <int kPixels>
  constexpr void fill() {
    of[kPixels] = direct_tile<kPixels, kStride>;
    if constexpr (kPixels > 1) fill<kPixels - 1>();
  }
};

constexpr DirectTiles<1> kTilesOfStride1;
constexpr DirectTiles<2> kTilesOfStride2;
constexpr DirectTiles<0> kTilesOfAnyStride;

inline const DirectTile* tiles_of(int64_t stride) {
  return stride == 1 ? kTilesOfStride1.of : stride == 2 ? kTilesOfStride2.of : kTilesOfAnyStride.of;
}

// All channels of an image with their border of zeros.
void copy_padded(const gossamer::ConvShape& s, const gossamer::DirectPlan& plan, const float* x, float* to) {
  const int64_t columns = plan.padded_w - s.pad_left < s.in_w ? plan.padded_w - s.pad_left : s.in_w;
  for (int64_t c = 0; c < s.in_channels; ++c) {
    for (int64_t i = 0; i < plan.padded_h; ++i, to += plan.padded_w) {
      const int64_t row = i - s.pad_top;
      const bool inside = row >= 0 && row < s.in_h && columns > 0;
      for (int64_t j = 0; j < (inside ? s.pad_left : plan.padded_w); ++j) to[j] = 0;
      if (!inside) continue;
      const float* from = x + (c * s.in_h + row) * s.in_w;
      for (int64_t j = 0; j < columns; j += V::kLanes) {
        const int n = static_cast<int>(columns - j < V::kLanes ? columns - j : V::kLanes);
        store_some(load_some(from + j, n), to + s.pad_left + j, n);
      }
      for (int64_t j = s.pad_left + columns; j < plan.padded_w; ++j) to[j] = 0;
    }
  }
}

// One task's place: rows [row, end) of outputs of one image by one panel of one group.
struct DirectTask {
  int64_t image, group, panel, row, end;
};

DirectTask direct_task(const gossamer::ConvShape& s, const gossamer::DirectPlan& plan, int64_t task) {
  const int64_t panels = s.groups * plan.panels, in_image = panels * plan.row_chunks;
  const int64_t index = task % in_image;
  const int64_t panel = plan.panels_first ? index % panels : index / plan.row_chunks;
  const int64_t row = (plan.panels_first ? index / panels : index % plan.row_chunks) * plan.rows;
  return {task / in_image, panel / plan.panels, panel % plan.panels, row, row + plan.rows < s.out_h ? row + plan.rows : s.out_h};
}

// x: the task's group of the image as it is read.
void direct_sums(const gossamer::ConvArgs& a, const gossamer::DirectPlan& plan, const DirectTask& task, const float* x,
                 const int64_t* offsets) {
  const gossamer::ConvShape& s = a.shape;
  const int64_t depth = s.depth(), wide = gossamer::tile_height(s.out_w, kTile.rows);
  const float* weights = a.weights + (task.group * plan.panels + task.panel) * depth * kWidth;
  const DirectTile* tiles = tiles_of(s.stride_w);
  for (int64_t p = 0; p < depth; p += kDepthBlock, weights += kDepthBlock * kWidth) {
    const int64_t steps = depth - p < kDepthBlock ? depth - p : kDepthBlock;
    float* sums = a.scratch;
    for (int64_t row = task.row; row < task.end; ++row) {
      const float* from = x + row * s.stride_h * plan.padded_w;
      for (int64_t column = 0; column < s.out_w; column += wide) {
        const int64_t count = s.out_w - column < wide ? s.out_w - column : wide;
        tiles[count](steps, from + column * s.stride_w, s.stride_w, offsets + p, weights, sums, p == 0);
        sums += count * kWidth;
      }
    }
  }
}

void direct_store(const gossamer::ConvArgs& a, const DirectTask& task) {
  const gossamer::ConvShape& s = a.shape;
  const int64_t first = task.panel * kWidth, pixel = task.row * s.out_w;
  for (int64_t o = first; o < first + kWidth && o < s.rows(); o += V::kLanes) {
    const int channels = static_cast<int>(s.rows() - o < V::kLanes ? s.rows() - o : V::kLanes);
    const int64_t channel = task.group * s.rows() + o;
    const int64_t at = (task.image * s.out_channels + channel) * s.pixels() + pixel;
    store_pixels(a, a.scratch + o - first, kWidth, channel, channels, at, (task.end - task.row) * s.out_w);
  }
}

void direct(const gossamer::ConvArgs& a) {
  const gossamer::ConvShape& s = a.shape;
  const gossamer::DirectPlan plan = gossamer::direct_plan(s, kTile);
  float* padded = a.scratch + plan.image;
  int64_t* offsets = reinterpret_cast<int64_t*>(a.scratch + plan.offsets);
  const int64_t plane = plan.padded_h * plan.padded_w, area = s.kernel_h * s.kernel_w;
  for (int64_t p = 0; p < s.depth(); ++p) {
    const int64_t u = p % area / s.kernel_w, v = p % s.kernel_w;
    offsets[p] = p / area * plane + u * s.dilation_h * plan.padded_w + v * s.dilation_w;
  }
  int64_t copied = -1;
  for (int64_t index = a.task_begin; index < a.task_end; ++index) {
    const DirectTask task = direct_task(s, plan, index);
    const float* image = a.x + task.image * s.in_channels * s.in_h * s.in_w;
    if (plan.pads && task.image != copied) {
      copy_padded(s, plan, image, padded);
      copied = task.image;
    }
    const float* x = (plan.pads ? padded : image) + task.group * (s.in_channels / s.groups) * plane;
    direct_sums(a, plan, task, x, offsets);
    direct_store(a, task);
  }
}

}  // namespace
