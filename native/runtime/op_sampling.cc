// GridSample over one to three dimensions (Jaderberg et al. 2015), and Col2Im over any number.
#include <algorithm>
#include <array>
#include <cmath>

#include "runtime/errors.h"
#include "runtime/sampling.h"
#include "runtime/window_nd.h"

namespace gossamer {
namespace {

// --- GridSample ----------------------------------------------------------------------------------------------------------

constexpr size_t kMostSpatial = 3;

enum class Padded { zeros, border, reflection };

struct Sampling {
  int taps = 2;  // of each dimension: 1 nearest, 2 linear, 4 cubic
  Padded padding = Padded::zeros;
  bool aligned = false;  // -1 and 1 are the centres of the outer pixels, not their edges
};

Sampling sampling_of(const Node& node) {
  const std::string mode = node.text("mode", "linear"), padding = node.text("padding_mode", "zeros");
  Sampling s;
  if (mode == "nearest") s.taps = 1;
  else if (mode == "cubic" || mode == "bicubic") s.taps = 4;
  else if (mode != "linear" && mode != "bilinear") throw ModelError(node.label() + ": mode '" + mode + "'");
  if (padding == "border") s.padding = Padded::border;
  else if (padding == "reflection") s.padding = Padded::reflection;
  else if (padding != "zeros") throw ModelError(node.label() + ": padding_mode '" + padding + "'");
  s.aligned = node.integer("align_corners", 0) != 0;
  return s;
}

void infer_grid_sample(Inference& n) {
  const Shape &x = n.shape(0), &grid = n.shape(1);
  sampling_of(n.node);
  if (x.size() < 3 || x.size() > 2 + kMostSpatial) throw Unsupported(n.node.label() + ": an input of shape " + shape_text(x) + "; one to three spatial dimensions are supported");
  const size_t spatial = x.size() - 2;
  if (grid.size() != x.size() || grid[0] != x[0] || grid.back() != static_cast<int64_t>(spatial)) n.fail("a grid of shape " + shape_text(grid) + " for an input of shape " + shape_text(x));
  Shape out{x[0], x[1]};
  out.insert(out.end(), grid.begin() + 1, grid.end() - 1);
  if (product(x, 2, x.size()) == 0 && element_count(out) > 0) n.fail("an input of shape " + shape_text(x) + " has no pixels");
  n.outputs = {out};
}

// Back and forth between two borders.
float reflected(float x, float low, float high) {
  const float range = high - low;
  if (!(range > 0)) return low;
  if (x >= low && x <= high) return x;
  const float outside = x < low ? low - x : x - high, turns = std::floor(outside / range), rest = outside - turns * range;
  const bool from_low = (x < low) == (std::fmod(turns, 2.0f) == 0);
  return from_low ? low + rest : high - rest;
}

// What one coordinate reads of its dimension: places (-1: zero) and weights. Of a dimension that is not there: its only one.
struct Taps {
  size_t count = 1;
  std::array<int64_t, 4> places{};
  std::array<float, 4> weights{1};
};

int64_t place_of(const Sampling& s, float at, int64_t size, float low, float high) {
  const auto last = static_cast<float>(size - 1);
  if (s.padding == Padded::zeros && !(at >= 0 && at <= last)) return -1;
  if (s.padding == Padded::reflection) at = reflected(at, low, high);
  return static_cast<int64_t>(std::clamp(at, 0.0f, last));
}

// Keys (1981) with a = -0.75.
float cubic(float x) {
  constexpr float a = -0.75f;
  x = std::fabs(x);
  return x <= 1 ? ((a + 2) * x - (a + 3)) * x * x + 1 : ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
}

Taps taps_of(const Sampling& s, float coordinate, int64_t size) {
  const auto length = static_cast<float>(size);
  const float low = s.aligned ? 0.0f : -0.5f, high = s.aligned ? length - 1 : length - 0.5f;
  float x = s.aligned ? (coordinate + 1) / 2 * (length - 1) : ((coordinate + 1) * length - 1) / 2;
  x = x == x ? std::clamp(x, -1e9f, 1e9f) : -1e9f;  // no place for NaN
  if (s.taps == 1) x = std::nearbyint(x);
  if (s.taps < 4 && (x < low || x > high)) {  // the taps of a cubic are moved one by one
    if (s.padding == Padded::border) x = std::clamp(x, 0.0f, length - 1);
    if (s.padding == Padded::reflection) x = reflected(x, low, high);
  }
  const float base = std::floor(x), ratio = x - base;
  Taps taps;
  taps.count = static_cast<size_t>(s.taps);
  for (int k = 0; k < s.taps; ++k) {
    const auto offset = static_cast<float>(k - (s.taps == 4));
    const auto i = static_cast<size_t>(k);
    taps.places[i] = place_of(s, base + offset, size, low, high);
    taps.weights[i] = s.taps == 1 ? 1.0f : s.taps == 2 ? 1 - std::fabs(ratio - offset) : cubic(ratio - offset);
  }
  return taps;
}

// `taps`: along depth, height and width.
float sampled(const std::array<Taps, kMostSpatial>& taps, const float* plane, int64_t height, int64_t width) {
  float sum = 0;
  for (size_t d = 0; d < taps[0].count; ++d) {
    for (size_t i = 0; i < taps[1].count; ++i) {
      if (taps[0].places[d] < 0 || taps[1].places[i] < 0) continue;
      const float* line = plane + (taps[0].places[d] * height + taps[1].places[i]) * width;
      float along = 0;
      for (size_t j = 0; j < taps[2].count; ++j) along += taps[2].places[j] < 0 ? 0 : taps[2].weights[j] * line[taps[2].places[j]];
      sum += taps[0].weights[d] * taps[1].weights[i] * along;
    }
  }
  return sum;
}

Step build_grid_sample(Build& b) {
  const Sampling s = sampling_of(b.node);
  const Shape &x = b.shape(0), &out = b.out_shape();
  const size_t spatial = x.size() - 2, absent = kMostSpatial - spatial;
  std::array<int64_t, kMostSpatial> sizes{1, 1, 1};
  std::copy(x.begin() + 2, x.end(), sizes.begin() + static_cast<int64_t>(absent));
  const int64_t channels = x[1], pixels = product(out, 2, out.size()), area = product(x, 2, x.size());
  return {[=, in = b.in(0), grid = b.in(1), y = b.out(), all = x[0] * pixels](const Run& run) {
            run.pool->share(all, [&](int64_t begin, int64_t end, int) {
              for (int64_t i = begin; i < end; ++i) {
                const float* at = run.at<float>(grid) + i * static_cast<int64_t>(spatial);  // the last dimension's coordinate first
                std::array<Taps, kMostSpatial> taps{};
                for (size_t d = absent; d < kMostSpatial; ++d) taps[d] = taps_of(s, at[kMostSpatial - 1 - d], sizes[d]);
                const int64_t first = i / pixels * channels;
                for (int64_t c = first; c < first + channels; ++c) {
                  run.at<float>(y)[c * pixels + i % pixels] = sampled(taps, run.at<float>(in) + c * area, sizes[1], sizes[2]);
                }
              }
            });
          },
          "plain loop", ""};
}

// --- Col2Im --------------------------------------------------------------------------------------------------------------

std::vector<DType> col2im_types(const Node& node, const Types& inputs) {
  if (inputs[0] != DType::float32) reject_type(node, 0, *inputs[0], "float32");
  for (const size_t i : {1, 2}) {
    if (inputs[i] != DType::int64) reject_type(node, i, *inputs[i], "int64");
  }
  return {DType::float32};
}

// The convolution that would make the columns of the image.
WindowNd window_of(const Inference& n) {
  const Shape image = n.integers(1), block = n.integers(2), &x = n.shape(0);
  if (x.size() != 3 || image.empty() || block.size() != image.size()) n.fail("columns of shape " + shape_text(x) + " for an image of shape " + shape_text(image));
  Shape whole{x[0], x[1]};
  for (const int64_t size : image) whole.push_back(size);
  if (std::any_of(image.begin(), image.end(), [](int64_t size) { return size < 0 || size > kMaxElements; })) n.fail("an image of shape " + shape_text(image));
  return window_nd(n.node, whole, block);
}

void infer_col2im(Inference& n) {
  const WindowNd w = window_of(n);
  const Shape& x = n.shape(0);
  if (x[1] % w.taps() || x[2] != w.outputs()) n.fail("columns of shape " + shape_text(x) + "; " + std::to_string(w.taps()) + " rows for each channel and " + std::to_string(w.outputs()) + " columns are needed");
  Shape out{x[0], x[1] / w.taps()};
  out.insert(out.end(), w.in.begin(), w.in.end());
  n.outputs = {out};
}

Step build_col2im(Build& b) {
  const WindowNd w = window_of(Inference{b.node, b.model.opset, b.inputs, {}});
  const int64_t columns = b.shape(0)[2], planes = b.out_shape()[0] * b.out_shape()[1];
  const Slot places = b.scratch(columns * 8);
  return {[=, x = b.in(0), y = b.out(), area = w.inputs(), taps = w.taps()](const Run& run) {
            int64_t* at = run.at<int64_t>(places);
            std::fill_n(run.at<float>(y), planes * area, 0.0f);
            for (int64_t tap = 0; tap < taps; ++tap) {
              w.sources(tap, 0, columns, at);
              for (int64_t p = 0; p < planes; ++p) {
                const float* from = run.at<float>(x) + (p * taps + tap) * columns;
                float* to = run.at<float>(y) + p * area;
                for (int64_t i = 0; i < columns; ++i) {
                  if (at[i] >= 0) to[at[i]] += from[i];
                }
              }
            }
          },
          "plain loop", ""};
}

constexpr Operator kOperators[] = {
    {"GridSample", 2, 2, " align_corners mode padding_mode ", float_types, infer_grid_sample, build_grid_sample},
    {"Col2Im", 3, 3, " dilations pads strides ", col2im_types, infer_col2im, build_col2im},
};

}  // namespace

std::span<const Operator> sampling_operators() { return kOperators; }

}  // namespace gossamer
