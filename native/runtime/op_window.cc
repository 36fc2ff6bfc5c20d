// ConvTranspose, and the general forms of Conv and of the pools: any number of spatial dimensions, weights that are
// computed while running, other types, indices. Patches are written out and multiplied.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/gemm/gemm.h"
#include "runtime/conv_transpose.h"
#include "runtime/errors.h"
#include "runtime/loops.h"
#include "runtime/window_nd.h"

namespace gossamer {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int64_t kPatchFloats = 1 << 18;  // of one block of patches

void run_gemm(const GemmKernel& kernel, GemmArgs& g) {
  const int64_t height = tile_height(g.m, kernel.tile.rows);
  g.tile_begin = g.panel_begin = 0;
  g.tile_end = height ? (g.m + height - 1) / height : 0;
  g.panel_end = panel_count(g.n, kernel.tile.width);
  kernel.run(g);
}

// --- Conv ----------------------------------------------------------------------------------------------------------------

struct GeneralConv {
  WindowNd w;
  int64_t batch, groups, in_channels, out_channels, block;  // block: output positions at a time
  int64_t depth() const { return in_channels / groups * w.taps(); }
};

GeneralConv general_conv(const Build& b) {
  const Shape &x = b.shape(0), &weights = b.shape(1);
  GeneralConv c{window_nd(b.node, x, Shape(weights.begin() + 2, weights.end())), x[0], b.node.integer("group", 1), x[1], weights[0], 0};
  c.block = std::clamp<int64_t>(kPatchFloats / std::max<int64_t>(c.depth(), 1), 1, c.w.outputs());
  return c;
}

// Patches of one group: depth x count, row after row.
void write_patches(const GeneralConv& c, const float* x, int64_t first, int64_t count, int64_t* positions, float* patches) {
  for (int64_t tap = 0; tap < c.w.taps(); ++tap) {
    c.w.sources(tap, first, count, positions);
    for (int64_t channel = 0; channel < c.in_channels / c.groups; ++channel) {
      const float* plane = x + channel * c.w.inputs();
      float* row = patches + (channel * c.w.taps() + tap) * count;
      for (int64_t i = 0; i < count; ++i) row[i] = positions[i] < 0 ? 0.0f : plane[positions[i]];
    }
  }
}

}  // namespace

Step build_general_conv(Build& b) {
  const GeneralConv c = general_conv(b);
  const GemmKernel& kernel = fastest(kGemmKernels, b.isa);
  const Slot patches = b.scratch(c.depth() * c.block * 4), packed = b.scratch(packed_size(c.depth(), c.block, kernel.tile.width) * 4);
  const Slot positions = b.scratch(c.block * 8), bias = b.has(2) ? b.in(2) : b.optional(b.epilogue.bias);
  const Slot residual = b.optional(b.epilogue.residual);
  const int64_t out = c.w.outputs(), rows = c.out_channels / c.groups;
  return {[=, kernel = &kernel, x = b.in(0), weights = b.in(1), y = b.out(), low = b.epilogue.low, high = b.epilogue.high](const Run& run) {
            for (int64_t g = 0; g < c.batch * c.groups; ++g) {
              for (int64_t first = 0; first < out; first += c.block) {
                const int64_t count = std::min(c.block, out - first), at = g * rows * out + first;
                write_patches(c, run.at<float>(x) + g * c.in_channels / c.groups * c.w.inputs(), first, count, run.at<int64_t>(positions), run.at<float>(patches));
                pack_b(c.depth(), count, run.at<float>(patches), count, 1, kernel->tile.width, run.at<float>(packed));
                GemmArgs a;
                a.m = rows;
                a.n = count;
                a.k = c.depth();
                a.a = run.at<float>(weights) + g % c.groups * rows * c.depth();
                a.a_row = c.depth();
                a.b = run.at<float>(packed);
                a.c = run.at<float>(y) + at;
                a.c_stride = out;
                a.row_bias = bias == kNoSlot ? nullptr : run.at<float>(bias) + g % c.groups * rows;
                a.residual = residual == kNoSlot ? nullptr : run.at<float>(residual) + at;
                a.low = low;
                a.high = high;
                run_gemm(*kernel, a);
              }
            }
          },
          kernel.name, "general convolution: patches are written out (three or more spatial dimensions, or computed weights)",
          c.batch * c.out_channels * out * c.depth()};
}

namespace {

// --- ConvTranspose -------------------------------------------------------------------------------------------------------

void infer_transposed(Inference& n) {
  const Shape &x = n.shape(0), &w = n.shape(1);
  const int64_t groups = n.node.integer("group", 1);
  if (x.size() < 3 || w.size() != x.size()) n.fail("input " + shape_text(x) + " and weights " + shape_text(w));
  if (groups < 1 || w[1] < 1 || w[0] != x[1] || x[1] < 1 || x[1] % groups) n.fail("input " + shape_text(x) + " and weights " + shape_text(w) + " do not fit, group = " + std::to_string(groups));
  const WindowNd window = transposed_window_nd(n.node, x, Shape(w.begin() + 2, w.end()));
  Shape out{x[0], element_count({w[1], groups})};
  if (n.has(2) && n.shape(2) != Shape{out[1]}) n.fail("the bias has shape " + shape_text(n.shape(2)));
  out.insert(out.end(), window.in.begin(), window.in.end());
  n.outputs = {out};
}

// Columns = W^T x, then every column is added where its tap of the kernel lies in the output.
Step build_transposed(Build& b) {
  const Shape &x = b.shape(0), &weights = b.shape(1);
  const WindowNd w = transposed_window_nd(b.node, x, Shape(weights.begin() + 2, weights.end()));
  if (w.spatial() <= 2 && b.known_floats(1)) return conv_transpose_step(b, w);
  const GemmKernel& kernel = fastest(kGemmKernels, b.isa);
  const int64_t groups = b.node.integer("group", 1), k = x[1] / groups, taps = w.taps(), pixels = w.outputs(), area = w.inputs();
  const int64_t channels = weights[1], rows = channels * taps;
  const Slot packed = b.scratch(packed_size(k, pixels, kernel.tile.width) * 4), columns = b.scratch(element_count({rows, pixels}) * 4);
  const Slot positions = b.scratch(pixels * 8);
  return {[=, kernel = &kernel, in = b.in(0), from = b.in(1), bias = b.in(2), out = b.out(), parts = x[0] * groups](const Run& run) {
            for (int64_t g = 0; g < parts; ++g) {
              pack_b(k, pixels, run.at<float>(in) + g * k * pixels, pixels, 1, kernel->tile.width, run.at<float>(packed));
              GemmArgs a;
              a.m = rows;
              a.n = pixels;
              a.k = k;
              a.a = run.at<float>(from) + g % groups * k * rows;
              a.a_row = 1;
              a.a_k = rows;
              a.b = run.at<float>(packed);
              a.c = run.at<float>(columns);
              a.c_stride = pixels;
              a.low = -kInfinity;
              a.high = kInfinity;
              run_gemm(*kernel, a);
              float* y = run.at<float>(out) + g * channels * area;
              for (int64_t c = 0; c < channels; ++c) std::fill_n(y + c * area, area, bias == kNoSlot ? 0.0f : run.at<float>(bias)[g % groups * channels + c]);
              for (int64_t tap = 0; tap < taps; ++tap) {
                int64_t* places = run.at<int64_t>(positions);
                w.sources(tap, 0, pixels, places);
                for (int64_t c = 0; c < channels; ++c) {
                  const float* column = run.at<float>(columns) + (c * taps + tap) * pixels;
                  for (int64_t i = 0; i < pixels; ++i) {
                    if (places[i] >= 0) y[c * area + places[i]] += column[i];
                  }
                }
              }
            }
          },
          kernel.name, "columns are multiplied, then added where they belong", x[0] * x[1] * pixels * channels * taps};
}

// --- pools ---------------------------------------------------------------------------------------------------------------

bool gives_indices(const Node& node) { return node.outputs.size() > 1 && node.outputs[1] != kAbsent; }

// How many taps of the window lie in the input or its padding: with ceil_mode a window may leave both.
int64_t padded_taps(const WindowNd& w, int64_t at) {
  int64_t taps = 1;
  for (size_t d = w.spatial(); d-- > 0;) {
    const int64_t first = at % w.out[d] * w.stride[d] - w.begin[d];
    at /= w.out[d];
    int64_t inside = 0;
    for (int64_t k = 0; k < w.kernel[d]; ++k) inside += first + k * w.dilation[d] < w.in[d] + w.end[d];
    taps *= inside;
  }
  return taps;
}

enum class Pooling { max, average, padded_average, norm };

// Flat place in the whole input, or with storage_order 1 with the first two spatial dimensions changed.
int64_t index_of(const WindowNd& w, int64_t plane, int64_t place, bool columns_first) {
  if (!columns_first) return plane * w.inputs() + place;
  const int64_t width = w.in.back(), height = w.inputs() / width;
  return plane * w.inputs() + place % width * height + place / width;
}

constexpr const char* kGeneralPool = "the general pool, one element at a time (three or more spatial dimensions, another type, indices, LpPool)";

// y = the larger of y and what one tap of the kernel reads; NaN stays. `found`: the places of the largest, -1: none yet.
template <class T>
void take_larger(const int64_t* places, int64_t outputs, const T* x, T* y, int64_t* found) {
  for (int64_t i = 0; i < outputs && !found; ++i) {
    const T value = places[i] < 0 ? y[i] : x[places[i]];
    y[i] = value > y[i] || value != value ? value : y[i];
  }
  for (int64_t i = 0; i < outputs && found; ++i) {
    if (places[i] < 0) continue;
    const T value = x[places[i]];
    if (!(value > y[i] || value != value || found[i] < 0)) continue;
    y[i] = value;
    found[i] = places[i];
  }
}

template <class T>
Step max_step(Build& b, const WindowNd& w) {
  const int64_t planes = b.shape(0)[0] * b.shape(0)[1], outputs = w.outputs(), inputs = w.inputs();
  const Slot indices = gives_indices(b.node) ? b.slot_of(b.node.outputs[1]) : kNoSlot, places = b.scratch(outputs * 8);
  const T least = kIsReal<T> ? static_cast<T>(-kInfinity) : std::numeric_limits<T>::min();
  return {[=, x = b.in(0), y = b.out(), columns_first = b.node.integer("storage_order", 0) != 0](const Run& run) {
            int64_t *from = run.at<int64_t>(places), *found = run.at<int64_t>(indices);
            std::fill_n(run.at<T>(y), planes * outputs, least);
            if (found) std::fill_n(found, planes * outputs, int64_t{-1});
            for (int64_t tap = 0; tap < w.taps(); ++tap) {
              w.sources(tap, 0, outputs, from);
              for (int64_t p = 0; p < planes; ++p) {
                take_larger(from, outputs, run.at<T>(x) + p * inputs, run.at<T>(y) + p * outputs, found ? found + p * outputs : nullptr);
              }
            }
            for (int64_t i = 0; found && i < planes * outputs; ++i) found[i] = index_of(w, i / outputs, std::max<int64_t>(found[i], 0), columns_first);
          },
          "plain loop", kGeneralPool};
}

double powered(float x, double p) { return p == 1 ? std::fabs(double{x}) : p == 2 ? double{x} * x : std::pow(std::fabs(double{x}), p); }

// Averages and norms: sums of all planes, tap after tap, and how many elements were counted at each place.
Step gather_step(Build& b, const WindowNd& w) {
  const int64_t planes = b.shape(0)[0] * b.shape(0)[1], outputs = w.outputs(), inputs = w.inputs();
  const Pooling how = b.node.op == "LpPool" ? Pooling::norm : b.node.integer("count_include_pad", 0) ? Pooling::padded_average : Pooling::average;
  const Slot places = b.scratch(outputs * 8), counts = b.scratch(outputs * 8), sums = b.scratch(element_count(b.out_shape()) * 8);
  return {[=, x = b.in(0), y = b.out(), p = static_cast<double>(b.node.integer("p", 2))](const Run& run) {
            int64_t *from = run.at<int64_t>(places), *count = run.at<int64_t>(counts);
            double* sum = run.at<double>(sums);
            std::fill_n(sum, planes * outputs, 0.0);
            std::fill_n(count, outputs, int64_t{0});
            for (int64_t tap = 0; tap < w.taps(); ++tap) {
              w.sources(tap, 0, outputs, from);
              for (int64_t i = 0; i < outputs; ++i) count[i] += from[i] >= 0;
              for (int64_t i = 0; i < planes * outputs; ++i) {
                const int64_t place = from[i % outputs];
                if (place < 0) continue;
                const float value = run.at<float>(x)[i / outputs * inputs + place];
                sum[i] += how == Pooling::norm ? powered(value, p) : double{value};
              }
            }
            for (int64_t i = 0; i < outputs && how == Pooling::padded_average; ++i) count[i] = padded_taps(w, i);
            for (int64_t i = 0; i < planes * outputs; ++i) {
              run.at<float>(y)[i] = static_cast<float>(how == Pooling::norm ? std::pow(sum[i], 1 / p) : sum[i] / static_cast<double>(count[i % outputs]));
            }
          },
          "plain loop", kGeneralPool};
}

// --- GlobalLpPool ------------------------------------------------------------------------------------------------------------

void infer_global(Inference& n) {
  if (n.shape(0).size() < 3) n.fail("input " + shape_text(n.shape(0)) + " has no spatial dimension");
  Shape out(n.shape(0).size(), 1);
  std::copy_n(n.shape(0).begin(), 2, out.begin());
  n.outputs = {out};
}

Step build_global(Build& b) {
  const int64_t planes = b.shape(0)[0] * b.shape(0)[1], area = product(b.shape(0), 2, b.shape(0).size());
  return {[=, x = b.in(0), y = b.out(), p = static_cast<double>(b.node.integer("p", 2))](const Run& run) {
            for (int64_t i = 0; i < planes; ++i) {
              double sum = 0;
              for (int64_t k = 0; k < area; ++k) sum += std::pow(std::fabs(double{run.at<float>(x)[i * area + k]}), p);
              run.at<float>(y)[i] = static_cast<float>(std::pow(sum, 1 / p));
            }
          },
          "plain loop", ""};
}

constexpr Operator kOperators[] = {
    {"ConvTranspose", 2, 3, " auto_pad dilations group kernel_shape output_padding output_shape pads strides ", float_types,
     infer_transposed, build_transposed},
    {"LpPool", 1, 1, " auto_pad ceil_mode dilations kernel_shape p pads strides ", float_types, infer_general_pool, build_general_pool},
    {"GlobalLpPool", 1, 1, " p ", float_types, infer_global, build_global},
};

}  // namespace

void infer_general_pool(Inference& n) {
  const Shape& x = n.shape(0);
  const WindowNd w = window_nd(n.node, x, {});
  if (n.node.op == "LpPool" && n.node.integer("p", 2) < 1) throw ModelError(n.node.label() + ": p is not positive");
  Shape out{x[0], x[1]};
  out.insert(out.end(), w.out.begin(), w.out.end());
  n.outputs = {out, out};
}

Step build_general_pool(Build& b) {
  const WindowNd w = window_nd(b.node, b.shape(0), {});
  if (b.node.op != "MaxPool") return gather_step(b, w);
  return with_type(b.inputs[0]->dtype, [&]<class T>(T) { return max_step<T>(b, w); });
}

std::span<const Operator> window_operators() { return kOperators; }

}  // namespace gossamer
