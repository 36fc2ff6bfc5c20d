#include "kernels/cells/planes.h"

#include <algorithm>

namespace gossamer {
namespace {

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// `count` cells from every `step`th place; with the usual steps known to the compiler, which then makes vectors of them.
void copy_every(int64_t step, const uint32_t* from, int64_t count, uint32_t* to) {
  if (step == 1) {
    std::copy(from, from + count, to);
  } else if (step == 2) {
    for (int64_t i = 0; i < count; ++i) to[i] = from[2 * i];
  } else {
    for (int64_t i = 0; i < count; ++i) to[i] = from[i * step];
  }
}

}  // namespace

CellPlanes::CellPlanes(const ConvShape& s, int64_t planes, bool readable_behind) : shape_(s), planes_(planes) {
  for (int64_t ky = 0; ky < s.kernel_h; ++ky) {
    for (int64_t kx = 0; kx < s.kernel_w; ++kx) {
      if (phase_of(ky, kx) < 0) phases_.push_back({ky * s.dilation_h % s.stride_h, kx * s.dilation_w % s.stride_w});
    }
  }
  // What the windows reach in padded coordinates, and how far that is beyond the image.
  const int64_t reach_h = (s.out_h - 1) * s.stride_h + (s.kernel_h - 1) * s.dilation_h + 1;
  const int64_t reach_w = (s.out_w - 1) * s.stride_w + (s.kernel_w - 1) * s.dilation_w + 1;
  const int64_t behind = std::max<int64_t>(0, reach_w - s.pad_left - s.in_w);
  copies_ = !readable_behind || s.stride_h > 1 || s.stride_w > 1 || s.pad_top || s.pad_left || behind || reach_h > s.in_h;
  rows_ = copies_ ? divide_up(reach_h, s.stride_h) : s.in_h;
  pitch_ = s.stride_w > 1 ? divide_up(reach_w, s.stride_w) : std::max(s.in_w + std::max(s.pad_left, behind), s.out_w);
  plane_cells_ = rows_ * pitch_ + (copies_ ? s.pad_left : 0);
  positions_ = {(s.out_h - 1) * pitch_ + s.out_w, pitch_, s.out_w};
}

int64_t CellPlanes::phase_of(int64_t ky, int64_t kx) const {
  const int64_t y = ky * shape_.dilation_h % shape_.stride_h, x = kx * shape_.dilation_w % shape_.stride_w;
  for (size_t i = 0; i < phases_.size(); ++i) {
    if (phases_[i].y == y && phases_[i].x == x) return static_cast<int64_t>(i);
  }
  return -1;
}

int64_t CellPlanes::offset(int64_t plane, int64_t ky, int64_t kx) const {
  const int64_t row = ky * shape_.dilation_h / shape_.stride_h, column = kx * shape_.dilation_w / shape_.stride_w;
  return (phase_of(ky, kx) * planes_ + plane) * plane_cells_ + row * pitch_ + column;
}

void CellPlanes::copy(const uint32_t* in, uint32_t fill, uint32_t* out, int64_t plane_begin, int64_t plane_end) const {
  for (size_t i = 0; i < phases_.size(); ++i) {
    for (int64_t plane = plane_begin; plane < plane_end; ++plane) {
      copy_phase(in + plane * shape_.in_h * shape_.in_w, fill, phases_[i],
                 out + (static_cast<int64_t>(i) * planes_ + plane) * plane_cells_);
    }
  }
}

void CellPlanes::copy_phase(const uint32_t* in, uint32_t fill, const Phase& phase, uint32_t* out) const {
  const ConvShape& s = shape_;
  // Columns first .. last - 1 of the phase lie in the image.
  const int64_t first = std::min(pitch_, divide_up(std::max<int64_t>(0, s.pad_left - phase.x), s.stride_w));
  const int64_t last = std::clamp(divide_up(s.in_w + s.pad_left - phase.x, s.stride_w), first, pitch_);
  for (int64_t row = 0; row < rows_; ++row, out += pitch_) {
    const int64_t y = row * s.stride_h + phase.y - s.pad_top;
    if (y < 0 || y >= s.in_h) {
      std::fill(out, out + pitch_, fill);
      continue;
    }
    const uint32_t* from = in + y * s.in_w + first * s.stride_w + phase.x - s.pad_left;
    std::fill(out, out + first, fill);
    copy_every(s.stride_w, from, last - first, out + first);
    std::fill(out + last, out + pitch_, fill);
  }
  std::fill(out, out + (plane_cells_ - rows_ * pitch_), fill);
}

}  // namespace gossamer
