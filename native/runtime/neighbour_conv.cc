#include "runtime/neighbour_conv.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>

namespace gossamer {
namespace {

constexpr int64_t kBytes = 4;  // of a cell
constexpr int64_t kWorthGathering = 16;  // output channels: with fewer, several channels of input are not worth it

static_assert(std::endian::native == std::endian::little, "a cell's first byte is the lowest of its uint32");

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// How a convolution becomes one over cells of neighbours.
struct Neighbours {
  ConvShape from, over;
  int64_t pixels, planes;  // of a block: q, p
  int64_t step_h, step_w;  // which rows and columns of blocks there are; their strides where nothing else is read
  uint8_t fill;

  Neighbours(const ConvShape& s, uint8_t padding)
      : from(s), over(s), pixels(kBytes / std::gcd(kBytes, s.in_channels)), planes(s.in_channels / std::gcd(kBytes, s.in_channels)),
        step_h(s.dilation_h == 1 ? s.stride_h : 1), step_w(pixels % s.stride_w == 0 ? s.stride_w : 1), fill(padding) {
    over.in_channels = kBytes * planes * step_h;
    over.kernel_h = divide_up(s.kernel_h, step_h);
    over.kernel_w = divide_up(s.kernel_w, pixels);
    over.stride_h = s.stride_h / step_h;
    over.stride_w = s.stride_w / step_w;
    over.dilation_w = pixels / step_w;
    over.in_h = (s.out_h - 1) * over.stride_h + (over.kernel_h - 1) * over.dilation_h + 1;
    over.in_w = (s.out_w - 1) * over.stride_w + (over.kernel_w - 1) * over.dilation_w + 1;
    over.pad_top = over.pad_left = 0;
  }

  int64_t rows() const { return step_h * over.in_h; }  // of pixels, of an image
  int64_t row_pixels() const { return (over.in_w - 1) * step_w + pixels; }
  int64_t row_bytes() const { return row_pixels() * from.in_channels + kBytes; }
  int64_t image_cells() const { return step_h * planes * over.in_h * over.in_w; }

  std::vector<int8_t> weights(const int8_t* weights) const;
  void gather(const uint32_t* in, uint32_t* out, uint8_t* bytes, int64_t begin, int64_t end) const;

 private:
  void pack_row(const uint32_t* row, uint8_t* bytes) const;
};

// [out][C][kernel_h][w] -> [out][4 p s][ceil(kernel_h / s)][ceil(w / q)]
std::vector<int8_t> Neighbours::weights(const int8_t* weights) const {
  const int64_t channels = from.in_channels;
  std::vector<int8_t> result(static_cast<size_t>(over.out_channels * over.in_channels * over.kernel_h * over.kernel_w));
  for (int64_t o = 0; o < from.out_channels; ++o)
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t ky = 0; ky < from.kernel_h; ++ky)
        for (int64_t kx = 0; kx < from.kernel_w; ++kx) {
          const int64_t byte = kx % pixels * channels + c, channel = ky % step_h * planes * kBytes + byte;
          const int64_t row = (o * over.in_channels + channel) * over.kernel_h + ky / step_h;
          result[static_cast<size_t>(row * over.kernel_w + kx / pixels)] = *weights++;
        }
  return result;
}

// The bytes of a row's pixels one after the other, with the padding.
void Neighbours::pack_row(const uint32_t* row, uint8_t* bytes) const {
  const int64_t channels = from.in_channels, first = std::min(from.pad_left, row_pixels());
  const int64_t last = std::min(from.in_w + from.pad_left, row_pixels());
  std::memset(bytes, fill, static_cast<size_t>(first * channels));
  for (int64_t x = first; x < last; ++x) std::memcpy(bytes + x * channels, row + x - from.pad_left, kBytes);  // the next one covers the rest
  std::memset(bytes + std::max(first, last) * channels, fill, static_cast<size_t>((row_pixels() - std::max(first, last)) * channels));
}

// Rows begin .. end - 1 of pixels, of all images. `bytes`: row_bytes().
void Neighbours::gather(const uint32_t* in, uint32_t* out, uint8_t* bytes, int64_t begin, int64_t end) const {
  const int64_t plane_cells = over.in_h * over.in_w, step = step_w * from.in_channels;
  for (int64_t row = begin; row < end; ++row) {
    const int64_t image = row / rows(), padded = row % rows(), y = padded - from.pad_top;
    uint32_t* to = out + image * image_cells() + padded % step_h * planes * plane_cells + padded / step_h * over.in_w;
    if (y >= 0 && y < from.in_h) pack_row(in + (image * from.in_h + y) * from.in_w, bytes);
    else std::memset(bytes, fill, static_cast<size_t>(row_bytes()));
    for (int64_t plane = 0; plane < planes; ++plane, to += plane_cells) {
      const uint8_t* at = bytes + plane * kBytes;
      for (int64_t x = 0; x < over.in_w; ++x) std::memcpy(to + x, at + x * step, kBytes);
    }
  }
}

}  // namespace

bool is_of_neighbours(const CellConv& conv) {
  const ConvShape& s = conv.shape;
  if (!conv.byte_weights || s.groups != 1 || s.in_channels >= kBytes || s.dilation_w != 1) return false;
  const bool fewer = divide_up(s.kernel_w * s.in_channels, kBytes) < s.kernel_w;
  return fewer && (s.in_channels == 1 || s.out_channels >= kWorthGathering);
}

Step neighbour_conv_step(Build& b, const CellConv& conv) {
  const Neighbours neighbours(conv.shape, conv.fill);
  const std::vector<int8_t> weights = neighbours.weights(conv.byte_weights);
  CellConv inner = conv;
  inner.shape = neighbours.over;
  inner.byte_weights = weights.data();
  inner.x = b.scratch(neighbours.over.batch * neighbours.image_cells() * kBytes);
  Step step = cell_conv_step(b, inner);
  const Slot bytes = b.scratch(b.threads * neighbours.row_bytes());
  step.run = [neighbours, x = conv.x, gathered = inner.x, bytes, convolve = std::move(step.run)](const Run& run) {
    run.pool->share(neighbours.from.batch * neighbours.rows(), [&](int64_t begin, int64_t end, int worker) {
      neighbours.gather(run.at<uint32_t>(x), run.at<uint32_t>(gathered), run.at<uint8_t>(bytes) + worker * neighbours.row_bytes(), begin, end);
    });
    convolve(run);
  };
  return step;
}

}  // namespace gossamer
