#include "runtime/window_nd.h"

#include <algorithm>

#include "runtime/errors.h"
#include "runtime/window.h"

namespace gossamer {
namespace {

constexpr int64_t kMostNumber = int64_t{1} << 20;  // of a stride, a padding ...

Shape read_numbers(const Node& node, const char* name, size_t count, int64_t least, int64_t otherwise) {
  Shape given = node.integers(name);
  if (given.empty()) given.assign(count, otherwise);
  if (given.size() != count) throw ModelError(node.label() + ": '" + name + "' needs " + std::to_string(count) + " numbers");
  for (const int64_t number : given) {
    if (number < least || number > kMostNumber) throw ModelError(node.label() + ": '" + name + "' holds " + std::to_string(number) + ", which is out of range");
  }
  return given;
}

// What both kinds of convolution read in the same way.
WindowNd read_attributes(const Node& node, const Shape& x, const Shape& kernel) {
  if (x.size() < 3) throw ShapeError(node.label() + ": input " + shape_text(x) + " has no spatial dimension");
  const size_t spatial = x.size() - 2;
  WindowNd w;
  w.in.assign(x.begin() + 2, x.end());
  w.kernel = kernel.empty() ? read_numbers(node, "kernel_shape", spatial, 1, 0) : kernel;
  if (w.kernel.size() != spatial) throw ShapeError(node.label() + ": the kernel has " + std::to_string(w.kernel.size()) + " dimensions");
  for (const int64_t size : w.kernel) {
    if (size < 1 || size > kMostNumber) throw ShapeError(node.label() + ": a kernel of shape " + shape_text(w.kernel));
  }
  w.stride = read_numbers(node, "strides", spatial, 1, 1);
  w.dilation = read_numbers(node, "dilations", spatial, 1, 1);
  const bool given = node.text("auto_pad", "NOTSET") == "NOTSET";
  const Shape pads = given ? read_numbers(node, "pads", 2 * spatial, 0, 0) : Shape(2 * spatial, 0);
  w.begin.assign(pads.begin(), pads.begin() + static_cast<int64_t>(spatial));
  w.end.assign(pads.begin() + static_cast<int64_t>(spatial), pads.end());
  w.out.assign(spatial, 0);
  return w;
}

int64_t reach(const WindowNd& w, size_t d) { return (w.kernel[d] - 1) * w.dilation[d] + 1; }

void share_padding(int64_t total, bool upper, int64_t& begin, int64_t& end) {
  total = std::max<int64_t>(total, 0);
  begin = upper ? total / 2 : total - total / 2;
  end = total - begin;
}

bool is_same(const Node& node, bool& upper) {
  const std::string mode = node.text("auto_pad", "NOTSET");
  if (mode != "NOTSET" && mode != "VALID" && mode != "SAME_UPPER" && mode != "SAME_LOWER") throw ModelError(node.label() + ": auto_pad '" + mode + "'");
  upper = mode == "SAME_UPPER";
  return upper || mode == "SAME_LOWER";
}

}  // namespace

int64_t WindowNd::inputs() const { return element_count(in); }
int64_t WindowNd::outputs() const { return element_count(out); }
int64_t WindowNd::taps() const { return element_count(kernel); }

void WindowNd::sources(int64_t tap, int64_t first, int64_t count, int64_t* positions) const {
  const size_t last = spatial() - 1;
  const int64_t start = tap % kernel[last] * dilation[last] - begin[last];
  for (int64_t done = 0; done < count;) {  // a line of the last dimension after the other
    const int64_t column = (first + done) % out[last], length = std::min(out[last] - column, count - done);
    int64_t place = (first + done) / out[last], offset = tap / kernel[last], stride_in = in[last], line = 0;
    for (size_t d = last; d-- > 0 && line >= 0;) {
      const int64_t at = place % out[d] * stride[d] + offset % kernel[d] * dilation[d] - begin[d];
      place /= out[d];
      offset /= kernel[d];
      line = at < 0 || at >= in[d] ? -1 : line + at * stride_in;
      stride_in *= in[d];
    }
    for (int64_t i = 0; i < length; ++i) {
      const int64_t at = (column + i) * stride[last] + start;
      positions[done + i] = line < 0 || at < 0 || at >= in[last] ? -1 : line + at;
    }
    done += length;
  }
}

WindowNd window_nd(const Node& node, const Shape& x, const Shape& kernel) {
  WindowNd w = read_attributes(node, x, kernel);
  bool upper = false;
  const bool same = is_same(node, upper), ceil = node.integer("ceil_mode", 0) != 0;
  for (size_t d = 0; d < w.spatial(); ++d) {
    if (same) share_padding(((w.in[d] + w.stride[d] - 1) / w.stride[d] - 1) * w.stride[d] + reach(w, d) - w.in[d], upper, w.begin[d], w.end[d]);
    w.out[d] = windows_along(w.in[d], w.begin[d], w.end[d], reach(w, d), w.stride[d], ceil);
    if (w.out[d] < 1) throw ShapeError(node.label() + ": input " + shape_text(x) + " is smaller than the kernel");
  }
  return w;
}

WindowNd transposed_window_nd(const Node& node, const Shape& x, const Shape& kernel) {
  WindowNd w = read_attributes(node, x, kernel);
  const Shape more = read_numbers(node, "output_padding", w.spatial(), 0, 0);
  const Shape wanted = node.find("output_shape") ? read_numbers(node, "output_shape", w.spatial(), 1, 0) : Shape{};
  bool upper = false;
  const bool same = is_same(node, upper);
  for (size_t d = 0; d < w.spatial(); ++d) {
    const int64_t whole = (w.in[d] - 1) * w.stride[d] + more[d] + reach(w, d);
    if (!wanted.empty() || same) {
      const int64_t size = wanted.empty() ? w.in[d] * w.stride[d] : wanted[d], total = std::max<int64_t>(whole - size, 0);
      share_padding(total, upper, w.begin[d], w.end[d]);
      w.out[d] = size;
    } else {
      w.out[d] = whole - w.begin[d] - w.end[d];
    }
    if (w.in[d] < 1 || w.out[d] < 1) throw ShapeError(node.label() + ": an output dimension of " + std::to_string(w.out[d]));
  }
  std::swap(w.in, w.out);  // seen as the convolution that leads from the output back to the input
  return w;
}

}  // namespace gossamer
