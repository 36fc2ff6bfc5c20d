#include "runtime/window.h"

#include "runtime/errors.h"

namespace gossamer {
namespace {

constexpr int64_t kMostPadding = int64_t{1} << 20;

void read_sizes(const Node& node, const char* name, size_t spatial, int64_t least, int64_t* out) {
  const std::vector<int64_t> given = node.integers(name);
  if (given.empty()) return;
  if (given.size() != spatial) throw ModelError(node.label() + ": '" + name + "' needs one number per spatial dimension");
  for (size_t d = 0; d < spatial; ++d) {
    if (given[d] < least || given[d] > kMostPadding) {
      throw ModelError(node.label() + ": '" + name + "' holds " + std::to_string(given[d]) + ", which is out of range");
    }
    out[d + 2 - spatial] = given[d];
  }
}

void read_pads(const Node& node, size_t spatial, Window& w) {
  const std::vector<int64_t> given = node.integers("pads");
  if (given.empty()) return;
  if (given.size() != 2 * spatial) throw ModelError(node.label() + ": 'pads' needs two numbers per spatial dimension");
  for (size_t d = 0; d < spatial; ++d) {
    w.begin[d + 2 - spatial] = given[d];
    w.end[d + 2 - spatial] = given[spatial + d];
  }
  for (const int64_t pad : given) {
    if (pad < 0 || pad > kMostPadding) throw Unsupported(node.label() + ": padding " + std::to_string(pad));
  }
}

void pad_automatically(const Node& node, size_t spatial, Window& w) {
  const std::string mode = node.text("auto_pad", "NOTSET");
  if (mode == "NOTSET" || mode == "VALID") return;
  if (mode != "SAME_UPPER" && mode != "SAME_LOWER") throw ModelError(node.label() + ": auto_pad '" + mode + "'");
  for (size_t d = 2 - spatial; d < 2; ++d) {
    const int64_t out = (w.in[d] + w.stride[d] - 1) / w.stride[d];
    const int64_t reach = (out - 1) * w.stride[d] + (w.kernel[d] - 1) * w.dilation[d] + 1;
    const int64_t pad = reach > w.in[d] ? reach - w.in[d] : 0;
    w.begin[d] = mode == "SAME_UPPER" ? pad / 2 : pad - pad / 2;
    w.end[d] = pad - w.begin[d];
  }
}

}  // namespace

int64_t windows_along(int64_t in, int64_t begin, int64_t end, int64_t reach, int64_t stride, bool ceil) {
  const int64_t room = begin + in + end - reach + (ceil ? stride - 1 : 0);
  const int64_t count = room < 0 ? 0 : room / stride + 1;
  return ceil && count > 1 && (count - 1) * stride >= begin + in ? count - 1 : count;
}

Window read_window(const Node& node, const Shape& x, const Shape& kernel) {
  const size_t spatial = x.size() < 2 ? 0 : x.size() - 2;
  if (spatial < 1 || spatial > 2) {
    throw Unsupported(node.label() + ": " + std::to_string(x.size()) + "-dimensional input; 3 or 4 dimensions (batch, "
                      "channels, one or two spatial ones) are supported");
  }
  Window w;
  for (size_t d = 0; d < spatial; ++d) {
    w.in[d + 2 - spatial] = x[d + 2];
    if (!kernel.empty()) w.kernel[d + 2 - spatial] = kernel[d];
  }
  if (kernel.empty()) read_sizes(node, "kernel_shape", spatial, 1, w.kernel);
  read_sizes(node, "strides", spatial, 1, w.stride);
  read_sizes(node, "dilations", spatial, 1, w.dilation);
  if (node.text("auto_pad", "NOTSET") == "NOTSET") read_pads(node, spatial, w);
  pad_automatically(node, spatial, w);
  const bool ceil = node.integer("ceil_mode", 0) != 0;
  for (size_t d = 2 - spatial; d < 2; ++d) {
    const int64_t reach = (w.kernel[d] - 1) * w.dilation[d] + 1;
    w.out[d] = windows_along(w.in[d], w.begin[d], w.end[d], reach, w.stride[d], ceil);
  }
  return w;
}

Shape window_output(const Shape& x, int64_t channels, const Window& w, const Node& node) {
  Shape out{x[0], channels};
  if (x.size() == 4) out.push_back(w.out[0]);
  out.push_back(w.out[1]);
  for (size_t d = 2; d < out.size(); ++d) {
    if (out[d] <= 0) throw ShapeError(node.label() + ": input " + shape_text(x) + " is smaller than the kernel");
  }
  return out;
}

}  // namespace gossamer
