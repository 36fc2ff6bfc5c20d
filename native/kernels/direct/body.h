// Included once per instruction set, after simd/*.h, with kTile defined.
#pragma once

#include "kernels/conv/store.h"
#include "kernels/direct/direct.h"
#include "kernels/simd/unrolled.h"

namespace {

constexpr int64_t kWidth = kTile.width;
constexpr int64_t kDepthBlock = 256;  // steps of K: 32 KiB of weights with AVX-512
static_assert(kDepthBlock * kWidth <= gossamer::kDecodedFloats);

// kPixels pixels, kStride floats apart (0: known at run time), by a panel of kVectors. `first`: the sums start from zero. The
// weights behind these are asked for: where pixels are few, they come from far away.
template <int kPixels, int kStride, int kVectors>
void direct_tile(int64_t depth, const float* x, int64_t stride, const int64_t* offsets, const float* w, float* sums, bool first) {
  constexpr int kPanel = kVectors * V::kLanes;
  V sum[kPixels * kVectors];  // [pixel][vector]
  unrolled<kPixels * kVectors>([&](auto i) __attribute__((always_inline)) { sum[i] = first ? V::zero() : V::load(sums + i * V::kLanes); });
  for (int64_t p = 0; p < depth; ++p, w += kPanel) {
    V weights[kVectors];
    unrolled<kVectors>([&](auto j) __attribute__((always_inline)) {
      weights[j] = V::load(w + j * V::kLanes);
      if (j * V::kLanes % 16 == 0) __builtin_prefetch(w + depth * kPanel + j * V::kLanes, 0, 2);
    });
    const float* from = x + offsets[p];
    unrolled<kPixels>([&](auto i) __attribute__((always_inline)) {
      const V scalar = V::broadcast(from[i * (kStride ? kStride : stride)]);
      unrolled<kVectors>([&](auto j) __attribute__((always_inline)) {
        sum[i * kVectors + j] = fma(scalar, weights[j], sum[i * kVectors + j]);
      });
    });
  }
  unrolled<kPixels * kVectors>([&](auto i) __attribute__((always_inline)) { sum[i].store(sums + i * V::kLanes); });
}

using DirectTile = void (*)(int64_t, const float*, int64_t, const int64_t*, const float*, float*, bool);

template <int kStride, int kVectors>
struct DirectTiles {
  DirectTile of[kTile.rows + 1];
  constexpr DirectTiles() : of{} { fill<kTile.rows>(); }
  template <int kPixels>
  constexpr void fill() {
    of[kPixels] = direct_tile<kPixels, kStride, kVectors>;
    if constexpr (kPixels > 1) fill<kPixels - 1>();
  }
};

template <int kVectors>
inline const DirectTile* tiles_of(int64_t stride) {
  static constexpr DirectTiles<1, kVectors> kStride1;
  static constexpr DirectTiles<2, kVectors> kStride2;
  static constexpr DirectTiles<0, kVectors> kAnyStride;
  return stride == 1 ? kStride1.of : stride == 2 ? kStride2.of : kAnyStride.of;
}

// The rows of inputs that the outputs from `row` on read, of all channels, with their border of zeros.
void copy_rows(const gossamer::ConvShape& s, const gossamer::DirectPlan& plan, const float* x, int64_t row, float* to) {
  const int64_t columns = plan.in_width - s.pad_left < s.in_w ? plan.in_width - s.pad_left : s.in_w;
  for (int64_t c = 0; c < s.in_channels; ++c) {
    float* at = to + c * plan.plane;
    for (int64_t i = 0; i < plan.in_rows; ++i, at += plan.in_width) {
      const int64_t from_row = row * s.stride_h - s.pad_top + i;
      const bool inside = from_row >= 0 && from_row < s.in_h && columns > 0;
      for (int64_t j = 0; j < (inside ? s.pad_left : plan.in_width); ++j) at[j] = 0;
      if (!inside) continue;
      const float* from = x + (c * s.in_h + from_row) * s.in_w;
      for (int64_t j = 0; j < columns; j += V::kLanes) {
        const int n = static_cast<int>(columns - j < V::kLanes ? columns - j : V::kLanes);
        store_some(load_some(from + j, n), at + s.pad_left + j, n);
      }
      for (int64_t j = s.pad_left + columns; j < plan.in_width; ++j) at[j] = 0;
    }
  }
}

// One task's place: rows [row, end) of outputs of one image by one panel of one group. `chunk`: of all images.
struct DirectTask {
  int64_t chunk, image, group, panel, row, end;
};

DirectTask direct_task(const gossamer::ConvShape& s, const gossamer::DirectPlan& plan, int64_t task) {
  const int64_t panels = s.groups * plan.panels, panel = task % panels, chunk = task / panels;
  const int64_t row = chunk % plan.chunks * plan.rows, end = row + plan.rows;
  return {chunk, chunk / plan.chunks, panel / plan.panels, panel % plan.panels, row, end < s.out_h ? end : s.out_h};
}

// x: the first input of the task's group and rows.
void direct_sums(const gossamer::ConvArgs& a, const gossamer::DirectPlan& plan, const DirectTask& task, int64_t panel,
                 const float* x, const int64_t* offsets) {
  const gossamer::ConvShape& s = a.shape;
  const int64_t depth = s.depth(), wide = gossamer::tile_height(s.out_w, kTile.rows);
  const float* weights = a.weights + (task.group * plan.panels + task.panel) * depth * kWidth;
  const DirectTile* tiles = panel == kWidth ? tiles_of<kWidth / V::kLanes>(s.stride_w) : tiles_of<1>(s.stride_w);
  for (int64_t p = 0; p < depth; p += kDepthBlock, weights += kDepthBlock * panel) {
    const int64_t steps = depth - p < kDepthBlock ? depth - p : kDepthBlock;
    if (a.coded) a.coded->decode(*a.coded, task.group * plan.panels + task.panel, p, steps, panel, a.decoded);
    const float* block = a.coded ? a.decoded : weights;
    float* sums = a.scratch;
    for (int64_t row = task.row; row < task.end; ++row) {
      const float* from = x + (row - task.row) * s.stride_h * plan.in_width;
      for (int64_t column = 0; column < s.out_w; column += wide) {
        const int64_t count = s.out_w - column < wide ? s.out_w - column : wide;
        tiles[count](steps, from + column * s.stride_w, s.stride_w, offsets + p, block, sums, p == 0);
        sums += count * panel;
      }
    }
  }
}

void direct_store(const gossamer::ConvArgs& a, const DirectTask& task, int64_t panel) {
  const gossamer::ConvShape& s = a.shape;
  const int64_t first = task.panel * kWidth, pixel = task.row * s.out_w;
  for (int64_t o = first; o < first + panel && o < s.rows(); o += V::kLanes) {
    const int channels = static_cast<int>(s.rows() - o < V::kLanes ? s.rows() - o : V::kLanes);
    const int64_t channel = task.group * s.rows() + o;
    const int64_t at = (task.image * s.out_channels + channel) * s.pixels() + pixel;
    store_pixels(a, a.scratch + o - first, panel, channel, channels, at, (task.end - task.row) * s.out_w);
  }
}

void find_offsets(const gossamer::ConvShape& s, const gossamer::DirectPlan& plan, int64_t* offsets) {
  for (int64_t c = 0; c < s.in_channels / s.groups; ++c)
    for (int64_t u = 0; u < s.kernel_h; ++u)
      for (int64_t v = 0; v < s.kernel_w; ++v) *offsets++ = c * plan.plane + u * s.dilation_h * plan.in_width + v * s.dilation_w;
}

void direct(const gossamer::ConvArgs& a) {
  const gossamer::ConvShape& s = a.shape;
  const gossamer::DirectPlan plan = gossamer::direct_plan(s, kTile);
  float* copy = a.scratch + plan.image;
  int64_t* offsets = reinterpret_cast<int64_t*>(a.scratch + plan.offsets);
  find_offsets(s, plan, offsets);
  int64_t copied = -1;  // the chunk whose inputs lie in scratch memory
  for (int64_t index = a.task_begin; index < a.task_end; ++index) {
    const DirectTask task = direct_task(s, plan, index);
    const float* image = a.x + task.image * s.in_channels * s.in_h * s.in_w;
    if (plan.copies && task.chunk != copied) {
      copy_rows(s, plan, image, task.row, copy);
      copied = task.chunk;
    }
    const float* x = plan.copies ? copy : image + task.row * s.stride_h * s.in_w;
    const int64_t panel = gossamer::direct_panel(s, kTile, task.panel);
    direct_sums(a, plan, task, panel, x + task.group * (s.in_channels / s.groups) * plan.plane, offsets);
    direct_store(a, task, panel);
  }
}

}  // namespace
