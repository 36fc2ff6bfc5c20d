// Convolution as a matrix product over panels of patches. Included once per instruction set, after simd/*.h, with
// kTile defined.
#pragma once

#include "kernels/conv/conv.h"
#include "kernels/gemm/tile.h"

namespace {

constexpr int64_t kWidth = kTile.width;
constexpr int64_t kBlock = gossamer::kConvBlock / kWidth;  // rows of a panel of patches
constexpr Tiles<kTile.rows, kTile.width / V::kLanes, true, DenseRight> kConvTiles;

// A run of output pixels of one panel that lie in one output row.
struct Run {
  int64_t row, column, length;
};

inline int64_t floor_zero(int64_t x) { return x > 0 ? x : 0; }

// Output columns j of a run whose input column j stride + offset is inside [0, width): [begin, end) within the run.
inline void inside(const Run& run, int64_t stride, int64_t offset, int64_t width, int64_t& begin, int64_t& end) {
  const int64_t first = offset >= 0 ? 0 : (-offset + stride - 1) / stride;
  const int64_t behind = width - offset <= 0 ? 0 : (width - offset + stride - 1) / stride;
  begin = floor_zero(first - run.column);
  end = floor_zero(behind - run.column);
  if (end > run.length) end = run.length;
  if (begin > end) begin = end;
}

// Writes zeros up to begin, then source[0], source[stride], ..., up to end, then zeros up to length. Whole vectors are
// written: what they spill behind the run is overwritten by the next run, or falls into the scratch's reserve.
inline void pack_run(const float* source, int64_t stride, int64_t begin, int64_t end, int64_t length, float* to) {
  for (int64_t t = 0; t < begin; t += V::kLanes) V::zero().store(to + t);
  int64_t t = begin;
  if (stride == 1) {
    for (; t + V::kLanes <= end; t += V::kLanes) V::load(source + t - begin).store(to + t);
    if (t < end) {
      V::load(source + t - begin, static_cast<int>(end - t)).store(to + t);  // zeros behind end
      t += V::kLanes;
    }
  } else {
    for (; t < end; ++t) to[t] = source[(t - begin) * stride];
  }
  for (; t < length; t += V::kLanes) V::zero().store(to + t);
}

// Rows [p0, p0 + depth) of the panel of patches, kWidth floats each. `x`: the group's first channel.
void pack_patches(const gossamer::ConvShape& s, const float* x, const Run* runs, int count, int64_t p0, int64_t depth,
                  float* to) {
  const int64_t area = s.kernel_h * s.kernel_w;
  int64_t channel = p0 / area, u = p0 % area / s.kernel_w, v = p0 % s.kernel_w;
  for (int64_t p = 0; p < depth; ++p, to += kWidth) {
    float* at = to;
    const int64_t offset = v * s.dilation_w - s.pad_left;
    for (const Run* run = runs; run != runs + count; ++run) {
      const int64_t row = run->row * s.stride_h - s.pad_top + u * s.dilation_h;
      int64_t begin = 0, end = 0;
      if (row >= 0 && row < s.in_h) inside(*run, s.stride_w, offset, s.in_w, begin, end);
      const int64_t column = end > begin ? (run->column + begin) * s.stride_w + offset : 0;
      const float* source = end > begin ? x + (channel * s.in_h + row) * s.in_w + column : x;
      pack_run(source, s.stride_w, begin, end, run->length, at);
      at += run->length;
    }
    if (++v == s.kernel_w) {
      v = 0;
      if (++u == s.kernel_h) {
        u = 0;
        ++channel;
      }
    }
  }
}

inline int find_runs(const gossamer::ConvShape& s, int64_t pixel, int64_t columns, Run* runs) {
  int count = 0;
  while (columns > 0) {
    const int64_t row = pixel / s.out_w, column = pixel % s.out_w;
    const int64_t length = s.out_w - column < columns ? s.out_w - column : columns;
    runs[count++] = {row, column, length};
    pixel += length;
    columns -= length;
  }
  return count;
}

void conv_panel(const gossamer::ConvArgs& a, int64_t image, int64_t group, int64_t pixel) {
  const gossamer::ConvShape& s = a.shape;
  const int64_t k = s.depth(), rows = s.rows(), pixels = s.pixels(), channels = s.in_channels / s.groups;
  const int64_t height = gossamer::tile_height(rows, kTile.rows), tiles = height ? (rows + height - 1) / height : 0;
  const int columns = static_cast<int>(pixels - pixel < kWidth ? pixels - pixel : kWidth);
  Run runs[kWidth];
  const int count = find_runs(s, pixel, columns, runs);
  const float* x = a.x + (image * s.in_channels + group * channels) * s.in_h * s.in_w;
  const float* weights = a.weights + group * tiles * height * k;
  const int64_t corner = (image * s.out_channels + group * rows) * pixels + pixel;
  for (int64_t p0 = 0; p0 < k; p0 += kBlock) {
    const int64_t depth = k - p0 < kBlock ? k - p0 : kBlock;
    pack_patches(s, x, runs, count, p0, depth, a.scratch);
    for (int64_t row = 0; row < rows; row += height) {
      const int64_t at = corner + row * pixels;
      const int64_t tall = rows - row < height ? rows - row : height;
      const TileEdge edge{a.bias ? a.bias + group * rows + row : nullptr, nullptr,
                          a.residual ? a.residual + at : nullptr, p0 == 0, p0 + depth == k, a.low, a.high};
      kConvTiles.of[tall](depth, weights + row * k + p0 * height, 1, height, DenseRight{a.scratch}, a.y + at, pixels, columns,
                          edge);
    }
  }
}

void conv(const gossamer::ConvArgs& a) {
  const int64_t panels = (a.shape.pixels() + kWidth - 1) / kWidth;
  for (int64_t task = a.task_begin; task < a.task_end; ++task) {
    const int64_t group = task / panels % a.shape.groups, image = task / panels / a.shape.groups;
    conv_panel(a, image, group, task % panels * kWidth);
  }
}

}  // namespace
