// HannWindow, HammingWindow, BlackmanWindow, MelWeightMatrix, DFT and STFT.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "runtime/errors.h"
#include "runtime/fourier.h"
#include "runtime/signal.h"
#include "runtime/types.h"

namespace gossamer {
namespace {

constexpr int64_t kMostPoints = 1 << 22;  // of a window or a transform: what is written down for each of them takes memory

int64_t one_integer(const Inference& n, size_t i, int64_t least, const char* what) {
  const std::vector<int64_t> values = n.integers(i);
  if (values.size() != 1) n.fail(std::string(what) + " is not one number");
  if (values[0] < least || values[0] > kMostPoints) n.fail(std::string(what) + " is " + std::to_string(values[0]));
  return values[0];
}

void require(const Node& node, const Types& inputs, size_t i, std::initializer_list<DType> types, const char* have) {
  if (i < inputs.size() && inputs[i] && std::find(types.begin(), types.end(), *inputs[i]) == types.end()) reject_type(node, i, *inputs[i], have);
}

DType output_type(const Node& node) {
  const int64_t number = node.integer("output_datatype", 1);
  const auto type = dtype_from_onnx(number);
  if (!type || !is_float(*type)) throw Unsupported(node.label() + ": output_datatype is ONNX type number " + std::to_string(number));
  return *type;
}

// --- windows -------------------------------------------------------------------------------------------------------------

std::vector<DType> window_types(const Node& node, const Types& inputs) {
  require(node, inputs, 0, {DType::int32, DType::int64}, "int32 and int64");
  return {output_type(node)};
}

void infer_window(Inference& n) { n.outputs = {{one_integer(n, 0, 0, "its size")}}; }

// a - b cos(2 pi i / N) + c cos(4 pi i / N)
struct Cosines {
  double a, b, c;
};

Cosines cosines_of(const Node& node) {
  if (node.op == "HannWindow") return {0.5, 0.5, 0};
  return node.op == "HammingWindow" ? Cosines{25.0 / 46, 21.0 / 46, 0} : Cosines{0.42, 0.5, 0.08};
}

Step build_window(Build& b) {
  const int64_t size = b.out_shape()[0], period = std::max<int64_t>(b.node.integer("periodic", 1) ? size : size - 1, 1);
  const double turn = 2 * std::numbers::pi / static_cast<double>(period);
  return with_real(b.outputs[0]->dtype, [&]<class T>(T) -> Step {
    return {[=, w = cosines_of(b.node), y = b.out()](const Run& run) {
              for (int64_t i = 0; i < size; ++i) {
                const double angle = turn * static_cast<double>(i);
                run.at<T>(y)[i] = static_cast<T>(w.a - w.b * std::cos(angle) + w.c * std::cos(2 * angle));
              }
            },
            "plain loop", ""};
  });
}

// --- MelWeightMatrix -----------------------------------------------------------------------------------------------------

std::vector<DType> mel_types(const Node& node, const Types& inputs) {
  for (const size_t i : {0, 1, 2}) require(node, inputs, i, {DType::int32, DType::int64}, "int32 and int64");
  for (const size_t i : {3, 4}) require(node, inputs, i, {DType::float32}, "float32");
  return {output_type(node)};
}

void infer_mel(Inference& n) {
  for (const size_t i : {3, 4}) {
    if (element_count(n.shape(i)) != 1) n.fail("input " + std::to_string(i) + " is not one number");
  }
  one_integer(n, 2, 1, "sample_rate");
  const int64_t bins = one_integer(n, 0, 1, "num_mel_bins"), length = one_integer(n, 1, 1, "dft_length");
  n.outputs = {{length / 2 + 1, bins}};
}

double mel_of(double hertz) { return 2595 * std::log10(1 + hertz / 700); }
double hertz_of(double mel) { return 700 * (std::pow(10, mel / 2595) - 1); }

// Triangles between neighbours of `edges` (bins of the spectrum); what lies outside of the spectrum is left out.
template <class T>
void write_triangles(const int64_t* edges, int64_t bins, int64_t rows, T* y) {
  std::fill_n(y, rows * bins, static_cast<T>(0.0f));
  const auto put = [&](int64_t row, int64_t i, double value) { y[row * bins + i] = static_cast<T>(value); };
  for (int64_t i = 0; i < bins; ++i) {
    const int64_t low = edges[i], middle = edges[i + 1], high = edges[i + 2];
    if (low == middle && middle < rows) put(middle, i, 1);
    for (int64_t j = low; j <= std::min(middle, rows - 1) && low < middle; ++j) put(j, i, static_cast<double>(j - low) / static_cast<double>(middle - low));
    for (int64_t j = middle; j < std::min(high, rows); ++j) put(j, i, static_cast<double>(high - j) / static_cast<double>(high - middle));
  }
}

Step build_mel(Build& b) {
  const Inference n{b.node, b.model.opset, b.inputs, {}};
  const int64_t rows = b.out_shape()[0], bins = b.out_shape()[1], length = n.integers(1)[0], rate = n.integers(2)[0];
  const Slot scratch = b.scratch((bins + 2) * 8);
  return with_real(b.outputs[0]->dtype, [&]<class T>(T) -> Step {
    return {[=, least = b.in(3), most = b.in(4), y = b.out()](const Run& run) {
              const double low = mel_of(*run.at<float>(least)), step = (mel_of(*run.at<float>(most)) - low) / static_cast<double>(bins + 2);
              int64_t* edges = run.at<int64_t>(scratch);
              for (int64_t i = 0; i < bins + 2; ++i) {
                const double at = std::floor(static_cast<double>(length + 1) * hertz_of(low + step * static_cast<double>(i)) / static_cast<double>(rate));
                edges[i] = at > 0 ? static_cast<int64_t>(std::min(at, 2.0 * kMostPoints)) : 0;
              }
              write_triangles(edges, bins, rows, run.at<T>(y));
            },
            "plain loop", ""};
  });
}

// --- DFT -----------------------------------------------------------------------------------------------------------------

std::vector<DType> dft_types(const Node& node, const Types& inputs) {
  require(node, inputs, 0, {DType::float32, DType::float64}, "float32 and float64");
  for (const size_t i : {1, 2}) require(node, inputs, i, {DType::int32, DType::int64}, "int32 and int64");
  return {*inputs[0]};
}

// Lines along one dimension of outer x in x inner numbers of `parts` parts to outer x out x inner of `out_parts`.
struct Transform {
  int64_t outer, in, inner, parts, length, out, out_parts;
  bool inverse, mirrored;  // mirrored: the spectrum is one half, the other its conjugate
};

Transform transform_of(const Inference& n) {
  const Shape& x = n.shape(0);
  const auto rank = static_cast<int64_t>(x.size());
  if (rank < 2 || x.back() < 1 || x.back() > 2) n.fail("input " + shape_text(x) + ": its last dimension is not a real or a complex number");
  const int64_t given = n.has(2) ? one_integer(n, 2, -rank, "the axis") : n.node.integer("axis", n.opset >= 20 ? -2 : 1);
  const auto axis = static_cast<size_t>(wrap_axis(given, rank, n.node));
  if (axis + 1 == x.size()) n.fail("the axis is that of the parts of a complex number");
  const bool onesided = n.node.integer("onesided", 0) != 0, inverse = n.node.integer("inverse", 0) != 0;
  Transform t{product(x, 0, axis), x[axis], product(x, axis + 1, x.size() - 1), x.back(), 0, 0, 2, inverse, inverse && onesided};
  t.length = n.has(1) ? one_integer(n, 1, 1, "dft_length") : t.mirrored ? 2 * (t.in - 1) : t.in;
  if (t.length < 1 || t.length > kMostPoints) n.fail("a transform of " + std::to_string(t.length) + " numbers");
  t.out = onesided && !inverse ? t.length / 2 + 1 : t.length;
  if (t.mirrored) t.out_parts = 1;
  return t;
}

void infer_dft(Inference& n) {
  const Transform t = transform_of(n);
  const auto rank = static_cast<int64_t>(n.shape(0).size());
  const int64_t given = n.has(2) ? n.integers(2)[0] : n.node.integer("axis", n.opset >= 20 ? -2 : 1);
  Shape out = n.shape(0);
  out[static_cast<size_t>(wrap_axis(given, rank, n.node))] = t.out;
  out.back() = t.out_parts;
  n.outputs = {out};
}

// A line into re and im, cut or filled up with zeros.
template <class T>
void read_line(const Transform& t, const T* x, double* re, double* im) {
  std::fill_n(re, t.length, 0.0);
  std::fill_n(im, t.length, 0.0);
  const int64_t count = std::min(t.in, t.mirrored ? t.length / 2 + 1 : t.length);
  for (int64_t i = 0; i < count; ++i) {
    const T* from = x + i * t.inner * t.parts;
    re[i] = static_cast<double>(from[0]);
    if (t.parts == 2) im[i] = static_cast<double>(from[1]);
  }
  if (!t.mirrored) return;
  im[0] = 0;
  if (t.length % 2 == 0) im[t.length / 2] = 0;
  for (int64_t i = 1; 2 * i < t.length; ++i) {
    re[t.length - i] = re[i];
    im[t.length - i] = -im[i];
  }
}

template <class T>
Step dft_step(Build& b, const Transform& t) {
  const auto fourier = std::make_shared<const Fourier>(t.length);
  const Slot scratch = b.scratch((2 * t.length + fourier->scratch()) * 8);
  return {[=, in = b.in(0), y = b.out()](const Run& run) {
            double *re = run.at<double>(scratch), *im = re + t.length, *work = im + t.length;
            for (int64_t line = 0; line < t.outer * t.inner; ++line) {
              const int64_t o = line / t.inner, i = line % t.inner;
              read_line(t, run.at<T>(in) + (o * t.in * t.inner + i) * t.parts, re, im);
              t.inverse ? fourier->inverse(re, im, work) : fourier->forward(re, im, work);
              T* to = run.at<T>(y) + (o * t.out * t.inner + i) * t.out_parts;
              for (int64_t k = 0; k < t.out; ++k, to += t.inner * t.out_parts) {
                to[0] = static_cast<T>(re[k]);
                if (t.out_parts == 2) to[1] = static_cast<T>(im[k]);
              }
            }
          },
          "plain loop", "a fast transform in double precision, one line at a time"};
}

Step build_dft(Build& b) {
  const Transform t = transform_of(Inference{b.node, b.model.opset, b.inputs, {}});
  return b.inputs[0]->dtype == DType::float64 ? dft_step<double>(b, t) : dft_step<float>(b, t);
}

// --- STFT ----------------------------------------------------------------------------------------------------------------

std::vector<DType> stft_types(const Node& node, const Types& inputs) {
  require(node, inputs, 0, {DType::float32, DType::float64}, "float32 and float64");
  if (inputs.size() > 2 && inputs[2] && inputs[2] != inputs[0]) reject_type(node, 2, *inputs[2], "the first input's type");
  for (const size_t i : {1, 3}) require(node, inputs, i, {DType::int32, DType::int64}, "int32 and int64");
  return {*inputs[0]};
}

struct Frames {
  int64_t batch, samples, parts, step, length, count, bins;
};

Frames frames_of(const Inference& n) {
  const Shape& x = n.shape(0);
  if (x.size() != 2 && x.size() != 3) n.fail("input " + shape_text(x) + " is not a batch of signals");
  Frames f{x[0], x[1], x.size() == 3 ? x[2] : 1, one_integer(n, 1, 1, "frame_step"), 0, 0, 0};
  if (f.parts < 1 || f.parts > 2) n.fail("input " + shape_text(x) + ": its last dimension is not a real or a complex number");
  f.length = n.has(3) ? one_integer(n, 3, 1, "frame_length") : n.has(2) ? element_count(n.shape(2)) : f.samples;
  if (f.length < 1 || f.length > kMostPoints || f.length > f.samples) n.fail("frames of " + std::to_string(f.length) + " samples of " + std::to_string(f.samples));
  if (n.has(2) && n.shape(2) != Shape{f.length}) n.fail("the window has shape " + shape_text(n.shape(2)) + ", a frame " + std::to_string(f.length) + " samples");
  f.count = (f.samples - f.length) / f.step + 1;
  f.bins = n.node.integer("onesided", 1) ? f.length / 2 + 1 : f.length;
  return f;
}

void infer_stft(Inference& n) {
  const Frames f = frames_of(n);
  n.outputs = {{f.batch, f.count, f.bins, 2}};
}

template <class T>
Step stft_step(Build& b, const Frames& f) {
  const auto fourier = std::make_shared<const Fourier>(f.length);
  const Slot scratch = b.scratch((2 * f.length + fourier->scratch()) * 8);
  return {[=, in = b.in(0), window = b.in(2), y = b.out()](const Run& run) {
            double *re = run.at<double>(scratch), *im = re + f.length, *work = im + f.length;
            for (int64_t frame = 0; frame < f.batch * f.count; ++frame) {
              const T* from = run.at<T>(in) + (frame / f.count * f.samples + frame % f.count * f.step) * f.parts;
              for (int64_t i = 0; i < f.length; ++i) {
                const double weight = window == kNoSlot ? 1 : static_cast<double>(run.at<T>(window)[i]);
                re[i] = weight * static_cast<double>(from[i * f.parts]);
                im[i] = f.parts == 2 ? weight * static_cast<double>(from[i * f.parts + 1]) : 0;
              }
              fourier->forward(re, im, work);
              T* to = run.at<T>(y) + frame * f.bins * 2;
              for (int64_t k = 0; k < f.bins; ++k) {
                to[2 * k] = static_cast<T>(re[k]);
                to[2 * k + 1] = static_cast<T>(im[k]);
              }
            }
          },
          "plain loop", "a fast transform in double precision, one frame at a time"};
}

Step build_stft(Build& b) {
  const Frames f = frames_of(Inference{b.node, b.model.opset, b.inputs, {}});
  return b.inputs[0]->dtype == DType::float64 ? stft_step<double>(b, f) : stft_step<float>(b, f);
}

constexpr const char* kWindowAttributes = " output_datatype periodic ";

constexpr Operator kOperators[] = {
    {"HannWindow", 1, 1, kWindowAttributes, window_types, infer_window, build_window},
    {"HammingWindow", 1, 1, kWindowAttributes, window_types, infer_window, build_window},
    {"BlackmanWindow", 1, 1, kWindowAttributes, window_types, infer_window, build_window},
    {"MelWeightMatrix", 5, 5, " output_datatype ", mel_types, infer_mel, build_mel},
    {"DFT", 1, 3, " axis inverse onesided ", dft_types, infer_dft, build_dft},
    {"STFT", 2, 4, " onesided ", stft_types, infer_stft, build_stft},
};

}  // namespace

std::span<const Operator> signal_operators() { return kOperators; }

}  // namespace gossamer
