#include <algorithm>
#include <cmath>
#include <complex>
#include <numbers>
#include <vector>

#include "kernels/conv/method.h"
#include "kernels/fft/fft.h"

namespace gossamer {

const ConvKernel kFftKernels[kRowCount] = {
    {Isa::portable, "fft/portable", fft_portable, kFftPortable},
#if defined(__x86_64__)
    {Isa::avx2, "fft/avx2", fft_avx2, kFftAvx2},
    {Isa::avx512, "fft/avx512", fft_avx512, kFftAvx512},
#endif
};

namespace {

using Point = std::complex<double>;

constexpr int64_t kSizes[] = {16, 32, 64};  // points of one dimension: whole vectors on every instruction set
constexpr int64_t kMostInputs = 192 << 10;  // floats of transformed inputs: they are to stay in the second cache
constexpr int64_t kMostBlock = 16;  // pairs
constexpr int64_t kMostWeights = int64_t{1} << 24, kMostScratch = int64_t{1} << 23;  // floats
constexpr int64_t kLeastTaps = 16;  // below, other methods are faster on any image
constexpr int64_t kLine = 16;  // floats of a cache line: added to strides, so that neighbours do not fall into one set

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

bool is_line(const ConvShape& s) { return s.in_h == 1 && s.out_h == 1 && s.kernel_h == 1; }
int64_t reach_h(const ConvShape& s) { return (s.kernel_h - 1) * s.dilation_h + 1; }
int64_t reach_w(const ConvShape& s) { return (s.kernel_w - 1) * s.dilation_w + 1; }
int64_t together(const ConvShape& s, Tile tile) { return s.rows() < tile.rows ? 1 : tile.rows; }
int64_t filled_rows(const ConvShape& s, Tile tile) { return ceil_div(s.rows(), together(s, tile)) * together(s, tile); }

// For tiles of that many points; no outputs where the kernel does not fit.
FftPlan plan_with(const ConvShape& s, Tile tile, int64_t rows, int64_t columns) {
  FftPlan p{};
  p.line = is_line(s);
  p.rows = rows;
  p.columns = columns;
  p.out_h = p.line ? 1 : std::min(rows - reach_h(s) + 1, s.out_h);
  p.out_w = std::min((p.line ? p.points() : columns) - reach_w(s) + 1, s.out_w);
  if (p.out_h < 1 || p.out_w < 1) return p;
  p.tiles_x = ceil_div(s.out_w, p.out_w);
  p.tiles = p.tiles_x * ceil_div(s.out_h, p.out_h);
  p.pairs = ceil_div(p.tiles, 2);
  const int64_t channels = s.in_channels / s.groups, pair = channels * 2 * p.points();
  const int64_t most = std::clamp<int64_t>(kMostInputs / pair / kFftPairs * kFftPairs, kFftPairs, kMostBlock);
  p.blocks = ceil_div(p.pairs, most);
  p.block = ceil_div(p.pairs, p.blocks);
  const int64_t vectors = p.points() / tile.width;
  p.in_vector = ceil_div(p.block, kFftPairs) * kFftPairs * channels * 2 * tile.width + kLine;
  p.products = vectors * p.in_vector;
  p.work = p.products + together(s, tile) * p.block * 2 * p.points();
  p.floats = p.work + 4 * p.points();
  return p;
}

// A transform passes every point log2(points) times; a product is two complex vectors' four multiply-adds.
double plan_cycles(const ConvShape& s, Tile tile, const FftPlan& p) {
  const auto vectors = static_cast<double>(p.points()) / tile.width, rows = static_cast<double>(filled_rows(s, tile));
  const auto channels = static_cast<double>(s.in_channels / s.groups), pairs = static_cast<double>(p.pairs);
  const double transform = vectors * (5.5 * std::log2(static_cast<double>(p.points())) + 25);
  const double products = vectors * (together(s, tile) == 1 ? 8.0 : 4.4) * rows * channels;
  const double reading = streaming_cycles(rows * channels * 2 * static_cast<double>(p.points()), static_cast<double>(p.blocks));
  const double each = pairs * (channels + rows) * transform + std::max(pairs * products, reading);
  return static_cast<double>(s.batch * s.groups) * each;
}

// --- weights: transformed in double precision, rounded once ---------------------------------------------------------------

// F of n points, n a power of two.
void transform(Point* x, size_t n, size_t stride, std::vector<Point>& spare) {
  if (n == 1) return;
  transform(x, n / 2, 2 * stride, spare);
  transform(x + stride, n / 2, 2 * stride, spare);
  for (size_t k = 0; k < n / 2; ++k) {
    const double angle = -2 * std::numbers::pi * static_cast<double>(k) / static_cast<double>(n);
    const Point even = x[2 * k * stride], odd = std::polar(1.0, angle) * x[(2 * k + 1) * stride];
    spare[k] = even + odd;
    spare[k + n / 2] = even - odd;
  }
  for (size_t k = 0; k < n; ++k) x[k * stride] = spare[k];
}

// order[i]: which point of the spectrum the kernels' transforms leave at i.
std::vector<size_t> scrambled(size_t n) {
  if (n <= 2) return n == 1 ? std::vector<size_t>{0} : std::vector<size_t>{0, 1};
  std::vector<size_t> order;
  const auto quarter = scrambled(n / 4);
  for (size_t q = 0; q < 4; ++q) {
    for (const size_t k : quarter) order.push_back(4 * k + q);
  }
  return order;
}

class Filters {
 public:
  Filters(const ConvShape& s, const FftPlan& plan)
      : s_(s), plan_(plan), rows_(static_cast<size_t>(plan.rows)), columns_(static_cast<size_t>(plan.columns)),
        row_order_(scrambled(rows_)), column_order_(scrambled(columns_)), x_(rows_ * columns_), spare_(kFftMost) {}

  // exp(-2 pi i k n / N) for row k of the scrambled spectrum of columns and column n.
  Point rotation(size_t row, size_t column) const {
    const auto turns = static_cast<double>(row_order_[row] * column) / static_cast<double>(plan_.points());
    return std::polar(1.0, -2 * std::numbers::pi * turns);
  }

  // Point i of a filter's scrambled, transposed spectrum, after set().
  Point operator[](size_t i) const { return x_[row_order_[i % rows_] * columns_ + column_order_[i / rows_]]; }

  void set(const float* w) {
    std::fill(x_.begin(), x_.end(), Point{});
    for (int64_t u = 0; u < s_.kernel_h; ++u) {
      for (int64_t v = 0; v < s_.kernel_w; ++v) x_[place(u, v)] = w[u * s_.kernel_w + v] / static_cast<double>(plan_.points());
    }
    for (size_t j = 0; j < columns_; ++j) transform(x_.data() + j, rows_, columns_, spare_);
    for (size_t k = 0; plan_.line && k < rows_; ++k) {
      for (size_t j = 0; j < columns_; ++j) {
        const auto turns = static_cast<double>(k * j) / static_cast<double>(plan_.points());
        x_[k * columns_ + j] *= std::polar(1.0, -2 * std::numbers::pi * turns);
      }
    }
    for (size_t k = 0; k < rows_; ++k) transform(x_.data() + k * columns_, columns_, 1, spare_);
  }

 private:
  // Of w(u, v) in the tile: at its negative.
  size_t place(int64_t u, int64_t v) const {
    const int64_t points = plan_.points(), x = v * s_.dilation_w;
    if (plan_.line) return static_cast<size_t>((points - x) % points);
    return static_cast<size_t>((plan_.rows - u * s_.dilation_h) % plan_.rows * plan_.columns + (plan_.columns - x) % plan_.columns);
  }

  const ConvShape& s_;
  const FftPlan& plan_;
  size_t rows_, columns_;
  std::vector<size_t> row_order_, column_order_;
  std::vector<Point> x_, spare_;
};

// --- the method -------------------------------------------------------------------------------------------------------------

class Fft final : public ConvMethod {
 public:
  std::span<const ConvKernel> kernels() const override { return kFftKernels; }
  bool fits(const ConvShape& s) const override;
  double cycles(const ConvShape& s, Tile tile) const override { return plan_cycles(s, tile, fft_plan(s, tile)); }
  int64_t weights_size(const ConvShape& s, Tile tile) const override {
    const FftPlan p = fft_plan(s, tile);
    return p.rotation() + s.groups * filled_rows(s, tile) * (s.in_channels / s.groups) * 2 * p.points();
  }
  void pack(const ConvShape& s, const float* weights, Tile tile, float* packed) const override;
  int64_t scratch(const ConvShape& s, Tile tile) const override { return fft_plan(s, tile).floats; }
  int64_t tasks(const ConvShape& s, Tile tile) const override { return s.batch * s.groups * fft_plan(s, tile).blocks; }
};

bool Fft::fits(const ConvShape& s) const {
  const int64_t longest = is_line(s) ? kFftMost * kFftMost : kFftMost;
  if (s.stride_h != 1 || s.stride_w != 1 || s.pixels() == 0 || s.kernel_h * s.kernel_w < kLeastTaps) return false;
  if (s.kernel_h > kFftMost || s.kernel_w > longest || s.dilation_h > longest || s.dilation_w > longest) return false;
  if (reach_h(s) > kFftMost || reach_w(s) > longest) return false;
  return weights_size(s, kFftAvx512) <= kMostWeights && scratch(s, kFftAvx512) <= kMostScratch;
}

// [rotation][group][rows together][vector of points][channel][row][2][lanes].
void Fft::pack(const ConvShape& s, const float* weights, Tile tile, float* packed) const {
  const FftPlan plan = fft_plan(s, tile);
  const auto points = static_cast<size_t>(plan.points()), columns = static_cast<size_t>(plan.columns);
  Filters filter(s, plan);
  std::fill_n(packed, weights_size(s, tile), 0.0f);
  for (size_t i = 0; plan.line && i < points; ++i) {
    const Point w = filter.rotation(i / columns, i % columns);
    packed[i] = static_cast<float>(w.real());
    packed[points + i] = static_cast<float>(w.imag());
  }
  const int64_t channels = s.in_channels / s.groups, rows = together(s, tile), lanes = tile.width;
  for (int64_t o = 0; o < s.out_channels; ++o) {
    const int64_t row = o / s.rows() * filled_rows(s, tile) + o % s.rows();
    for (int64_t c = 0; c < channels; ++c) {
      filter.set(weights + (o * channels + c) * s.kernel_h * s.kernel_w);
      float* to = packed + plan.rotation() + row / rows * rows * channels * 2 * plan.points();
      for (int64_t i = 0; i < plan.points(); ++i) {
        float* at = to + ((i / lanes * channels + c) * rows + row % rows) * 2 * lanes + i % lanes;
        const Point w = filter[static_cast<size_t>(i)];
        at[0] = static_cast<float>(w.real());
        at[lanes] = static_cast<float>(w.imag());
      }
    }
  }
}

const Fft method;

}  // namespace

const ConvMethod& kFftConv = method;

FftPlan fft_plan(const ConvShape& s, Tile tile) {
  FftPlan best{};
  double least = 0;
  for (const int64_t rows : kSizes) {
    for (const int64_t columns : kSizes) {
      const FftPlan plan = plan_with(s, tile, rows, columns);
      if (plan.out_h < 1 || plan.out_w < 1) continue;
      const double cycles = plan_cycles(s, tile, plan);
      if (best.rows && cycles >= least) continue;
      best = plan;
      least = cycles;
    }
  }
  return best;
}

const FftRoots kFftRoots = [] {
  FftRoots roots;
  for (int k = 0; k < kFftMost; ++k) {
    const double angle = -2 * std::numbers::pi * k / kFftMost;
    roots.re[k] = static_cast<float>(std::cos(angle));
    roots.im[k] = static_cast<float>(std::sin(angle));
  }
  return roots;
}();

}  // namespace gossamer
