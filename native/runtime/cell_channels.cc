// Channels of tensors in cells put one after the other: concatenation, parts of a tensor, shuffled channels. Planes move as
// they are where cells meet cells, bytes move between cells elsewhere.
#include <algorithm>
#include <cstring>

#include "runtime/cell_shape.h"
#include "runtime/channel_ranges.h"
#include "runtime/errors.h"

namespace gossamer {
namespace {

// What one plane of an input gives to a plane of the output.
struct Part {
  size_t input;
  int64_t plane;
  int shift;  // bits that its bytes move up by
  uint32_t mask;  // of the output's bytes
};

std::vector<std::vector<Part>> parts_of(const std::vector<ChannelRange>& ranges) {
  std::vector<std::vector<Part>> all;
  int64_t to = 0;
  for (const ChannelRange& range : ranges) {
    for (int64_t from = range.begin; from < range.begin + range.count; ++from, ++to) {
      if (to % 4 == 0) all.emplace_back();
      std::vector<Part>& parts = all.back();
      const int shift = static_cast<int>(8 * (to % 4 - from % 4));
      const bool goes_on = !parts.empty() && parts.back().input == range.input && parts.back().plane == from / 4 && parts.back().shift == shift;
      if (!goes_on) parts.push_back({range.input, from / 4, shift, 0});
      parts.back().mask |= 0xffu << 8 * (to % 4);
    }
  }
  return all;
}

// y[p] = the bytes that the first kParts parts give to it.
template <size_t kParts>
void write(const Part* parts, const uint32_t* const* inputs, int64_t pixels, uint32_t* __restrict y) {
  const uint32_t* __restrict x[kParts];
  int up[kParts], down[kParts];
  uint32_t mask[kParts];
  for (size_t k = 0; k < kParts; ++k) {
    x[k] = inputs[k];
    up[k] = std::max(parts[k].shift, 0);
    down[k] = std::max(-parts[k].shift, 0);
    mask[k] = parts[k].mask;
  }
  for (int64_t p = 0; p < pixels; ++p) {
    uint32_t cell = 0;
    for (size_t k = 0; k < kParts; ++k) cell |= x[k][p] >> down[k] << up[k] & mask[k];
    y[p] = cell;
  }
}

// A plane of cells has four channels, so it has four parts at most.
void write_plane(const std::vector<Part>& parts, const uint32_t* const* inputs, int64_t pixels, uint32_t* y) {
  if (parts.size() == 1 && parts[0].shift == 0) std::memcpy(y, inputs[0], static_cast<size_t>(pixels) * 4);
  else if (parts.size() == 1) write<1>(parts.data(), inputs, pixels, y);
  else if (parts.size() == 2) write<2>(parts.data(), inputs, pixels, y);
  else if (parts.size() == 3) write<3>(parts.data(), inputs, pixels, y);
  else write<4>(parts.data(), inputs, pixels, y);
}

}  // namespace

std::vector<int64_t> to_attribute(const std::vector<ChannelRange>& ranges) {
  std::vector<int64_t> numbers;
  for (const ChannelRange& range : ranges) numbers.insert(numbers.end(), {static_cast<int64_t>(range.input), range.begin, range.count});
  return numbers;
}

std::vector<ChannelRange> channel_ranges(const Node& node) {
  const std::vector<int64_t> numbers = node.integers("ranges");
  std::vector<ChannelRange> ranges;
  for (size_t i = 0; i + 2 < numbers.size(); i += 3) ranges.push_back({static_cast<size_t>(numbers[i]), numbers[i + 1], numbers[i + 2]});
  return ranges;
}

int64_t channel_count(const std::vector<ChannelRange>& ranges) {
  int64_t all = 0;
  for (const ChannelRange& range : ranges) all += range.count;
  return all;
}

void infer_cell_channels(Inference& n) {
  Shape out = n.shape(0);
  for (size_t i = 1; i < n.inputs.size(); ++i) {
    Shape other = n.shape(i);
    other[1] = out[1];
    if (other != out) n.fail("inputs " + shape_text(n.shape(0)) + " and " + shape_text(n.shape(i)) + " differ beside their channels");
  }
  const std::vector<int64_t> spatial = n.node.integers("spatial");
  if (!spatial.empty()) {
    const int64_t pixels = pixels_of(out);
    out.resize(2);
    out.insert(out.end(), spatial.begin(), spatial.end());
    out.push_back(4);
    if (pixels_of(out) != pixels) n.fail("pixels of " + shape_text(n.shape(0)) + " and of " + shape_text(out));
  }
  out[1] = (channel_count(channel_ranges(n.node)) + 3) / 4;
  n.outputs = {out};
}

Step build_cell_channels(Build& b) {
  const Shape& out = b.out_shape();
  const int64_t pixels = pixels_of(out), planes = out[1];
  std::vector<Slot> slots;
  std::vector<int64_t> images;  // cells
  for (size_t i = 0; i < b.inputs.size(); ++i) {
    slots.push_back(b.in(i));
    images.push_back(b.shape(i)[1] * pixels);
  }
  const auto parts = parts_of(channel_ranges(b.node));
  const bool moves_bytes = std::any_of(parts.begin(), parts.end(), [](const auto& p) { return p.size() > 1 || p[0].shift != 0; });
  const auto run = [=, batch = out[0], y = b.out()](const Run& run) {
    run.pool->share(batch * planes, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        const std::vector<Part>& all = parts[static_cast<size_t>(i % planes)];
        const uint32_t* inputs[4];
        for (size_t k = 0; k < all.size(); ++k) {
          inputs[k] = run.at<uint32_t>(slots[all[k].input]) + i / planes * images[all[k].input] + all[k].plane * pixels;
        }
        write_plane(all, inputs, pixels, run.at<uint32_t>(y) + i * pixels);
      }
    });
  };
  return {run, "cell_channels", moves_bytes ? "channels do not begin at multiples of 4: bytes move between cells" : ""};
}

}  // namespace gossamer
