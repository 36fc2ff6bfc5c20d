#include "kernels/depthwise_cells/layout.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace gossamer {
namespace {

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

DepthwiseLayout::DepthwiseLayout(const ConvShape& s)
    : shape_(s), step_(s.stride_w <= 2 ? s.stride_w : 1), split_(s.stride_w / step_) {
  const int64_t reach_h = (s.out_h - 1) * s.stride_h + (s.kernel_h - 1) * s.dilation_h + 1;
  const int64_t reach_w = (s.out_w - 1) * s.stride_w + (s.kernel_w - 1) * s.dilation_w + 1;
  const int64_t behind = std::max<int64_t>(0, reach_w - s.pad_left - s.in_w);
  rows_ = divide_up(reach_h, s.stride_h);
  const int64_t width = split_ > 1 ? divide_up(reach_w, split_) : s.in_w + std::max(s.pad_left, behind);
  pitch_ = divide_up(std::max(width, s.out_w * step_), step_) * step_;
  phase_cells_ = rows_ * pitch_ + s.pad_left;
}

void DepthwiseLayout::copy_row(const uint32_t* in, uint32_t fill, int64_t phase, uint32_t* out) const {
  const ConvShape& s = shape_;
  // Columns first .. last - 1 of the phase lie in the image.
  const int64_t first = std::min(pitch_, divide_up(std::max<int64_t>(0, s.pad_left - phase), split_));
  const int64_t last = std::clamp(divide_up(s.in_w + s.pad_left - phase, split_), first, pitch_);
  std::fill(out, out + first, fill);
  const uint32_t* from = in + first * split_ + phase - s.pad_left;
  if (split_ == 1) {
    std::copy(from, from + (last - first), out + first);
  } else {
    for (int64_t i = 0; i < last - first; ++i) out[first + i] = from[i * split_];
  }
  std::fill(out + last, out + pitch_, fill);
}

void DepthwiseLayout::copy(const uint32_t* in, uint32_t fill, uint32_t* out) const {
  const ConvShape& s = shape_;
  for (int64_t phase_h = 0; phase_h < s.stride_h; ++phase_h) {
    for (int64_t phase_w = 0; phase_w < split_; ++phase_w) {
      for (int64_t row = 0; row < rows_; ++row, out += pitch_) {
        const int64_t y = row * s.stride_h + phase_h - s.pad_top;
        if (y >= 0 && y < s.in_h) copy_row(in + y * s.in_w, fill, phase_w, out);
        else std::fill(out, out + pitch_, fill);
      }
      std::fill(out, out + s.pad_left, fill);
      out += s.pad_left;
    }
  }
}

std::vector<DepthwiseLayout::Segment> DepthwiseLayout::segments() const {
  const bool together = split_ == 1 && shape_.dilation_w == 1;
  std::vector<Segment> all;
  for (int64_t row = 0; row < shape_.kernel_h; ++row) {
    for (int64_t column = 0; column < shape_.kernel_w;) {
      const int64_t count = together ? std::min<int64_t>(kSegmentTaps, shape_.kernel_w - column) : 1;
      all.push_back({row, column, count});
      column += count;
    }
  }
  return all;
}

std::vector<int32_t> DepthwiseLayout::offsets() const {
  std::vector<int32_t> all;
  for (const Segment& segment : segments()) {
    const int64_t y = segment.row * shape_.dilation_h, x = segment.column * shape_.dilation_w;
    const int64_t phase = y % shape_.stride_h * split_ + x % split_;
    all.push_back(static_cast<int32_t>(phase * phase_cells_ + y / shape_.stride_h * pitch_ + x / split_));
  }
  return all;
}

std::vector<std::byte> DepthwiseLayout::taps(const int8_t* weights, CellForm form) const {
  const std::vector<Segment> all = segments();
  std::vector<std::byte> packed;
  for (int64_t plane = 0; plane < (shape_.in_channels + 3) / 4; ++plane) {
    for (const Segment& segment : all) {
      std::array<std::array<int8_t, 4>, 4> w{};  // [channel][tap]
      for (int64_t c = 0; c < 4 && 4 * plane + c < shape_.in_channels; ++c) {
        const int8_t* from = weights + ((4 * plane + c) * shape_.kernel_h + segment.row) * shape_.kernel_w + segment.column;
        std::copy_n(from, segment.count, w[static_cast<size_t>(c)].begin());
      }
      std::array<int16_t, 16> halves{};
      for (size_t c = 0; c < 4; ++c)
        for (size_t i = 0; i < 4; ++i) halves[i / 2 * 8 + c * 2 + i % 2] = w[c][i];
      const auto* bytes = form == CellForm::halves ? reinterpret_cast<const std::byte*>(halves.data()) : reinterpret_cast<const std::byte*>(w.data());
      packed.insert(packed.end(), bytes, bytes + depthwise_tap_bytes(form));
    }
  }
  return packed;
}

std::vector<CellBlock> DepthwiseLayout::blocks(int lanes) const {
  const int64_t pitch = pitch_ / step_, width = shape_.out_w, count = (shape_.out_h - 1) * pitch + width;
  std::vector<CellBlock> all;
  for (int64_t position = 0; position < count; position += lanes) {
    CellBlock block;
    block.pixel = static_cast<int32_t>(position / pitch * width + std::min(position % pitch, width));
    for (int i = 0; i < lanes && position + i < count; ++i) {
      if ((position + i) % pitch >= width) continue;
      block.mask = static_cast<uint16_t>(block.mask | 1u << i);
      ++block.count;
    }
    all.push_back(block);
  }
  return all;
}

}  // namespace gossamer
