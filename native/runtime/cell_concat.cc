// Concatenation of tensors in cells along the channels: planes move as they are where cells meet cells, bytes move
// between cells elsewhere.
#include <algorithm>
#include <cstring>

#include "runtime/cell_shape.h"
#include "runtime/errors.h"

namespace gossamer {
namespace {

// What one plane of an input gives to a plane of the output.
struct Part {
  size_t input;
  int64_t plane;
  int up, down;  // bits that its bytes move by
  uint32_t mask;  // of the output's bytes
};

std::vector<std::vector<Part>> parts_of(const std::vector<int64_t>& channels, int64_t planes) {
  std::vector<std::vector<Part>> all(static_cast<size_t>(planes));
  int64_t first = 0;
  for (size_t i = 0; i < channels.size(); first += channels[i], ++i) {
    for (int64_t plane = 0; 4 * plane < channels[i]; ++plane) {
      const int64_t begin = first + 4 * plane, end = first + std::min(4 * plane + 4, channels[i]);
      for (int64_t out = begin / 4; 4 * out < end; ++out) {
        uint32_t mask = 0;
        for (int64_t c = std::max(begin, 4 * out); c < std::min(end, 4 * out + 4); ++c) mask |= 0xffu << 8 * (c % 4);
        const auto shift = static_cast<int>(8 * (begin - 4 * out));
        all[static_cast<size_t>(out)].push_back({i, plane, std::max(shift, 0), std::max(-shift, 0), mask});
      }
    }
  }
  return all;
}

void write(const Part& part, const uint32_t* __restrict x, int64_t pixels, bool first, bool only, uint32_t* __restrict y) {
  if (only && part.up == 0 && part.down == 0) {
    std::memcpy(y, x, static_cast<size_t>(pixels) * 4);
  } else if (first) {
    for (int64_t p = 0; p < pixels; ++p) y[p] = x[p] >> part.down << part.up & part.mask;
  } else {
    for (int64_t p = 0; p < pixels; ++p) y[p] |= x[p] >> part.down << part.up & part.mask;
  }
}

}  // namespace

void infer_cell_concat(Inference& n) {
  int64_t all = 0;
  Shape out = n.shape(0);
  for (const int64_t channels : n.node.integers("channels")) all += channels;
  for (size_t i = 1; i < n.inputs.size(); ++i) {
    Shape other = n.shape(i);
    other[1] = out[1];
    if (other != out) n.fail("inputs " + shape_text(n.shape(0)) + " and " + shape_text(n.shape(i)) + " differ beside their channels");
  }
  out[1] = (all + 3) / 4;
  n.outputs = {out};
}

Step build_cell_concat(Build& b) {
  const Shape& out = b.out_shape();
  const int64_t pixels = pixels_of(out), planes = out[1];
  std::vector<Slot> slots;
  std::vector<int64_t> images;  // cells
  for (size_t i = 0; i < b.inputs.size(); ++i) {
    slots.push_back(b.in(i));
    images.push_back(b.shape(i)[1] * pixels);
  }
  const auto parts = parts_of(b.node.integers("channels"), planes);
  const bool moves_bytes = std::any_of(parts.begin(), parts.end(), [](const auto& p) { return p.size() > 1 || p[0].up || p[0].down; });
  const auto run = [=, batch = out[0], y = b.out()](const Run& run) {
    run.pool->share(batch * planes, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        const auto& all = parts[static_cast<size_t>(i % planes)];
        for (size_t k = 0; k < all.size(); ++k) {
          const Part& part = all[k];
          const uint32_t* x = run.at<uint32_t>(slots[part.input]) + i / planes * images[part.input] + part.plane * pixels;
          write(part, x, pixels, k == 0, all.size() == 1, run.at<uint32_t>(y) + i * pixels);
        }
      }
    });
  };
  return {run, "cell_concat", moves_bytes ? "numbers of channels are no multiples of 4: bytes move between cells" : ""};
}

}  // namespace gossamer
