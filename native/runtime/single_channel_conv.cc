#include "runtime/single_channel_conv.h"

#include <algorithm>
#include <bit>

namespace gossamer {
namespace {

constexpr int64_t kNeighbours = 4;

static_assert(std::endian::native == std::endian::little, "a cell's first byte is the lowest of its uint32");

// Over the cells of neighbours, which hold the padding.
ConvShape shape_over_neighbours(ConvShape s) {
  s.in_channels = kNeighbours;
  s.kernel_w = (s.kernel_w + kNeighbours - 1) / kNeighbours;
  s.dilation_w = kNeighbours;
  s.in_h = (s.out_h - 1) * s.stride_h + (s.kernel_h - 1) * s.dilation_h + 1;
  s.in_w = (s.out_w - 1) * s.stride_w + (s.kernel_w - 1) * s.dilation_w + 1;
  s.pad_top = s.pad_left = 0;
  return s;
}

// [out][1][kernel_h][w] -> [out][neighbour][kernel_h][ceil(w / 4)]
std::vector<int8_t> weights_over_neighbours(const ConvShape& s, const ConvShape& over, const int8_t* weights) {
  std::vector<int8_t> result(static_cast<size_t>(s.out_channels * kNeighbours * over.kernel_h * over.kernel_w));
  for (int64_t o = 0; o < s.out_channels; ++o)
    for (int64_t ky = 0; ky < s.kernel_h; ++ky)
      for (int64_t kx = 0; kx < s.kernel_w; ++kx) {
        const int64_t row = (o * kNeighbours + kx % kNeighbours) * over.kernel_h + ky;
        result[static_cast<size_t>(row * over.kernel_w + kx / kNeighbours)] = weights[(o * s.kernel_h + ky) * s.kernel_w + kx];
      }
  return result;
}

// Gathers neighbours of images whose cells hold one channel.
struct Neighbours {
  ConvShape from, over;
  uint8_t fill;

  uint32_t byte(const uint32_t* row, int64_t x) const { return x >= 0 && x < from.in_w ? row[x] & 255u : fill; }

  void gather_row(const uint32_t* row, uint32_t* out) const {
    const auto at_border = [&](int64_t begin, int64_t end) {
      for (int64_t x = begin; x < end; ++x) {
        const int64_t at = x - from.pad_left;
        out[x] = byte(row, at) | byte(row, at + 1) << 8 | byte(row, at + 2) << 16 | byte(row, at + 3) << 24;
      }
    };
    const int64_t first = std::min(from.pad_left, over.in_w);
    const int64_t last = std::clamp(from.in_w + from.pad_left - (kNeighbours - 1), first, over.in_w);
    at_border(0, first);
    const uint32_t* at = row - from.pad_left;
    for (int64_t x = first; x < last; ++x) {
      out[x] = (at[x] & 255u) | (at[x + 1] & 255u) << 8 | (at[x + 2] & 255u) << 16 | at[x + 3] << 24;
    }
    at_border(last, over.in_w);
  }

  // Rows begin .. end - 1, of all images.
  void gather(const uint32_t* in, uint32_t* out, int64_t begin, int64_t end) const {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t image = row / over.in_h, y = row % over.in_h - from.pad_top;
      uint32_t* to = out + row * over.in_w;
      if (y < 0 || y >= from.in_h) std::fill_n(to, over.in_w, fill * 0x01010101u);
      else gather_row(in + (image * from.in_h + y) * from.in_w, to);
    }
  }
};

}  // namespace

bool is_of_single_channel(const CellConv& conv) {
  const ConvShape& s = conv.shape;
  return conv.byte_weights && s.in_channels == 1 && s.kernel_w > 1 && s.dilation_w == 1;
}

Step single_channel_conv_step(Build& b, const CellConv& conv) {
  const ConvShape over = shape_over_neighbours(conv.shape);
  const std::vector<int8_t> weights = weights_over_neighbours(conv.shape, over, conv.byte_weights);
  const Neighbours neighbours{conv.shape, over, conv.fill};
  CellConv inner = conv;
  inner.shape = over;
  inner.byte_weights = weights.data();
  inner.x = b.scratch(over.batch * over.in_h * over.in_w * 4);
  Step step = cell_conv_step(b, inner);
  step.run = [neighbours, x = conv.x, gathered = inner.x, convolve = std::move(step.run)](const Run& run) {
    run.pool->share(neighbours.over.batch * neighbours.over.in_h, [&](int64_t begin, int64_t end, int) {
      neighbours.gather(run.at<uint32_t>(x), run.at<uint32_t>(gathered), begin, end);
    });
    convolve(run);
  };
  return step;
}

}  // namespace gossamer
