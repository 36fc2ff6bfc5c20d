#include <algorithm>

#include "kernels/conv/method.h"
#include "kernels/winograd/winograd.h"

namespace gossamer {

#if defined(__x86_64__)
#define GOSSAMER_WINOGRAD(m)                                                                 \
  {{Isa::portable, "winograd" #m "/portable", winograd##m##_portable, kTilePortable},        \
   {Isa::avx2, "winograd" #m "/avx2", winograd##m##_avx2, kTileAvx2},                        \
   {Isa::avx512, "winograd" #m "/avx512", winograd##m##_avx512, kGemmAvx512}}
#else
#define GOSSAMER_WINOGRAD(m) {{Isa::portable, "winograd" #m "/portable", winograd##m##_portable, kTilePortable}}
#endif

const ConvKernel kWinograd2Kernels[kRowCount] = GOSSAMER_WINOGRAD(2);
const ConvKernel kWinograd4Kernels[kRowCount] = GOSSAMER_WINOGRAD(4);
const ConvKernel kWinograd6Kernels[kRowCount] = GOSSAMER_WINOGRAD(6);

namespace {

// G, n x 3: the filter's values at the points, scaled so that B^T and A^T are those of transforms.h.
constexpr double kG2[4][3] = {{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}};
constexpr double kG4[6][3] = {{1 / 4.0, 0, 0},
                              {-1 / 6.0, -1 / 6.0, -1 / 6.0},
                              {-1 / 6.0, 1 / 6.0, -1 / 6.0},
                              {1 / 24.0, 1 / 12.0, 1 / 6.0},
                              {1 / 24.0, -1 / 12.0, 1 / 6.0},
                              {0, 0, 1}};
constexpr double kG6[8][3] = {{1, 0, 0},
                              {-2 / 9.0, -2 / 9.0, -2 / 9.0},
                              {-2 / 9.0, 2 / 9.0, -2 / 9.0},
                              {1 / 90.0, 1 / 45.0, 2 / 45.0},
                              {1 / 90.0, -1 / 45.0, 2 / 45.0},
                              {32 / 45.0, 16 / 45.0, 8 / 45.0},
                              {32 / 45.0, -16 / 45.0, 8 / 45.0},
                              {0, 0, 1}};

// to[i n + j] = (G g G^T)(i, j), in double precision, rounded once.
template <int kN>
void transform_filter(const double (&G)[kN][3], const float* g, int64_t stride, float* to) {
  double half[kN][3] = {};
  for (int i = 0; i < kN; ++i) {
    for (int v = 0; v < 3; ++v) {
      for (int u = 0; u < 3; ++u) half[i][v] += G[i][u] * g[3 * u + v];
    }
  }
  for (int i = 0; i < kN; ++i) {
    for (int j = 0; j < kN; ++j) {
      double sum = 0;
      for (int v = 0; v < 3; ++v) sum += half[i][v] * G[j][v];
      to[(i * kN + j) * stride] = static_cast<float>(sum);
    }
  }
}

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

template <int kM>
class Winograd final : public ConvMethod {
 public:
  using Transform = void (*)(const float* filter, int64_t stride, float* to);
  constexpr Winograd(std::span<const ConvKernel> rows, Transform transform) : rows_(rows), transform_(transform) {}

  std::span<const ConvKernel> kernels() const override { return rows_; }
  bool fits(const ConvShape& s) const override {
    return s.groups == 1 && s.kernel_h == 3 && s.kernel_w == 3 && s.stride_h == 1 && s.stride_w == 1 && s.dilation_h == 1 &&
           s.dilation_w == 1;
  }
  double cycles(const ConvShape& s, Tile tile) const override;
  int64_t weights_size(const ConvShape& s, Tile tile) const override {
    return kPositions * s.in_channels * ceil_div(s.out_channels, tile.width) * tile.width;
  }
  void pack(const ConvShape& s, const float* weights, Tile tile, float* packed) const override;
  int64_t scratch(const ConvShape& s, Tile tile) const override { return winograd_plan(s, kM, tile).floats; }
  int64_t tasks(const ConvShape& s, Tile tile) const override {
    const WinogradPlan plan = winograd_plan(s, kM, tile);
    return plan.blocks * plan.chunks;
  }

 private:
  static constexpr int64_t kPositions = (kM + 2) * (kM + 2);
  std::span<const ConvKernel> rows_;
  Transform transform_;
};

template <int kM>
double Winograd<kM>::cycles(const ConvShape& s, Tile tile) const {
  const WinogradPlan plan = winograd_plan(s, kM, tile);
  const auto tiles = static_cast<double>(plan.tiles), positions = static_cast<double>(kPositions);
  const double lanes = tile.width / 2.0;
  const double products = 1.1 * tiles * positions * static_cast<double>(s.in_channels * plan.panels * 2);
  const double vectors = static_cast<double>(ceil_div(s.in_channels, tile.width / 2)) + static_cast<double>(s.out_channels) / lanes;
  const double reading = streaming_cycles(static_cast<double>(weights_size(s, tile)), static_cast<double>(plan.blocks));
  return std::max(products, reading) + tiles * vectors * (18 * positions);
}

// [panel][position][C][panel's channels]; those past the last one are zero.
template <int kM>
void Winograd<kM>::pack(const ConvShape& s, const float* weights, Tile tile, float* packed) const {
  std::fill_n(packed, weights_size(s, tile), 0.0f);
  const int64_t depth = s.in_channels, stride = depth * tile.width;
  for (int64_t o = 0; o < s.out_channels; ++o) {
    float* panel = packed + o / tile.width * kPositions * stride + o % tile.width;
    for (int64_t c = 0; c < depth; ++c) transform_(weights + (o * depth + c) * 9, stride, panel + c * tile.width);
  }
}

const Winograd<2> method2(kWinograd2Kernels, [](const float* g, int64_t stride, float* to) { transform_filter(kG2, g, stride, to); });
const Winograd<4> method4(kWinograd4Kernels, [](const float* g, int64_t stride, float* to) { transform_filter(kG4, g, stride, to); });
const Winograd<6> method6(kWinograd6Kernels, [](const float* g, int64_t stride, float* to) { transform_filter(kG6, g, stride, to); });

}  // namespace

const ConvMethod& kWinograd2Conv = method2;
const ConvMethod& kWinograd4Conv = method4;
const ConvMethod& kWinograd6Conv = method6;

// Floats of transformed inputs and of products in scratch memory. Few inputs stay in the second cache level (1 MiB on the
// machine where this was measured); many, in the third, serve weights well that come from memory and are then read less often.
constexpr int64_t kLeastInputs = 128 << 10, kMostInputs = 640 << 10, kMostProducts = 32 << 10;
constexpr int64_t kMostLanes = 16;  // of any instruction set
constexpr int64_t kLine = 16;  // floats of a cache line: added to strides, so that neighbours do not fall into one set

WinogradPlan winograd_plan(const ConvShape& s, int m, Tile tile) {
  const int64_t n = m + 2, positions = n * n, lanes = kMostLanes;
  WinogradPlan p;
  p.tiles_y = ceil_div(s.out_h, m);
  p.tiles_x = ceil_div(s.out_w, m);
  p.tiles = s.batch * p.tiles_y * p.tiles_x;
  p.panels = ceil_div(s.out_channels, tile.width);
  p.in_row = ceil_div(s.in_channels, lanes) * lanes + kLine;
  const int64_t weights = positions * s.in_channels * p.panels * tile.width;
  const int64_t room = std::clamp<int64_t>(weights / 8, kLeastInputs, kMostInputs);
  const int64_t most = std::max<int64_t>(room / (positions * p.in_row), tile.rows);
  p.blocks = ceil_div(p.tiles, most);
  p.block = std::max<int64_t>(ceil_div(p.tiles, std::max<int64_t>(p.blocks, 1)), 1);
  p.blocks = ceil_div(p.tiles, p.block);
  p.chunk = std::clamp<int64_t>(kMostProducts / (positions * p.block * tile.width), 1, p.panels);
  p.chunks = ceil_div(p.panels, p.chunk);
  p.in_position = p.block * p.in_row + kLine;
  p.out_row = p.chunk * tile.width;
  p.out_position = p.block * p.out_row + kLine;
  p.products = positions * p.in_position;
  p.stage = p.products + positions * p.out_position;
  p.floats = p.stage + n * (std::min(p.tiles_x, p.block) * m + 2 + lanes) * lanes;
  return p;
}

}  // namespace gossamer
