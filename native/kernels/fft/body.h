// Included once per instruction set, after simd/*.h, with kTile defined.
#pragma once

#include "kernels/fft/fft.h"
#include "kernels/simd/clamp.h"
#include "kernels/simd/unrolled.h"

namespace {

constexpr int64_t kLanes = V::kLanes, kPairs = gossamer::kFftPairs;
constexpr int kOuts = kTile.rows;

struct Complex {
  V re, im;
  static Complex load(const float* p, int64_t im) { return {V::load(p), V::load(p + im)}; }
  void store(float* p, int64_t to_im) const {
    re.store(p);
    im.store(p + to_im);
  }
};

inline Complex operator+(Complex a, Complex b) { return {a.re + b.re, a.im + b.im}; }
inline Complex operator-(Complex a, Complex b) { return {a.re - b.re, a.im - b.im}; }
inline Complex operator*(Complex a, Complex b) { return {fma(a.re, b.re, V::zero() - a.im * b.im), fma(a.re, b.im, a.im * b.re)}; }
inline Complex conjugate(Complex a) { return {a.re, V::zero() - a.im}; }

// --- transforms over the rows of a matrix whose columns are independent ---------------------------------------------------

// `im`: from real to imaginary parts, of everything.
struct Matrix {
  float* re;
  int64_t im, rows, columns;
};

inline Complex root(int64_t k, int64_t size, bool inverse) {
  const gossamer::FftRoots& roots = gossamer::kFftRoots;
  const int64_t at = k * (gossamer::kFftMost / size) % gossamer::kFftMost;
  return {V::broadcast(roots.re[at]), V::broadcast(inverse ? -roots.im[at] : roots.im[at])};
}

// a transformed, four points that lie `quarter` rows apart.
template <bool kInverse>
inline void butterfly(Complex (&a)[4]) {
  const Complex s02 = a[0] + a[2], d02 = a[0] - a[2], s13 = a[1] + a[3], d13 = a[1] - a[3];
  const Complex down{d02.re + d13.im, d02.im - d13.re}, up{d02.re - d13.im, d02.im + d13.re};  // d02 - i d13, d02 + i d13
  a[0] = s02 + s13;
  a[1] = kInverse ? up : down;
  a[2] = s02 - s13;
  a[3] = kInverse ? down : up;
}

// kRotated: not where all roots are 1.
template <bool kInverse, bool kRotated>
void stage_of_four(const Matrix& m, int64_t size) {
  const int64_t quarter = size / 4, step = quarter * m.columns;
  for (int64_t base = 0; base < m.rows; base += size) {
    for (int64_t j = 0; j < quarter; ++j) {
      Complex roots[4];
      if (kRotated) unrolled<3>([&](auto q) { roots[q + 1] = root((q + 1) * j, size, kInverse); });
      float* p = m.re + (base + j) * m.columns;
      for (const float* end = p + m.columns; p < end; p += kLanes) {
        Complex a[4];
        unrolled<4>([&](auto q) __attribute__((always_inline)) { a[q] = Complex::load(p + q * step, m.im); });
        if (kRotated && kInverse) unrolled<3>([&](auto q) __attribute__((always_inline)) { a[q + 1] = a[q + 1] * roots[q + 1]; });
        butterfly<kInverse>(a);
        if (kRotated && !kInverse) unrolled<3>([&](auto q) __attribute__((always_inline)) { a[q + 1] = a[q + 1] * roots[q + 1]; });
        unrolled<4>([&](auto q) __attribute__((always_inline)) { a[q].store(p + q * step, m.im); });
      }
    }
  }
}

void stage_of_two(const Matrix& m) {
  for (int64_t row = 0; row < m.rows; row += 2) {
    float* p = m.re + row * m.columns;
    for (const float* end = p + m.columns; p < end; p += kLanes) {
      const Complex a = Complex::load(p, m.im), b = Complex::load(p + m.columns, m.im);
      (a + b).store(p, m.im);
      (a - b).store(p + m.columns, m.im);
    }
  }
}

void transform_rows(const Matrix& m) {
  int64_t size = m.rows;
  for (; size > 4; size /= 4) stage_of_four<false, true>(m, size);
  size == 4 ? stage_of_four<false, false>(m, 4) : stage_of_two(m);
}

void transform_rows_back(const Matrix& m) {
  int64_t size = 4;
  while (size < m.rows) size *= 4;
  if (size == m.rows) {
    stage_of_four<true, false>(m, 4);
    size = 16;
  } else {
    stage_of_two(m);
    size = 8;
  }
  for (; size <= m.rows; size *= 4) stage_of_four<true, true>(m, size);
}

// The other way round; on its way every element is multiplied by that of `rotation` (one half of a matrix's size behind the
// other), if any, or by its conjugate: before the transposition where it goes forward, else behind it.
template <bool kInverse>
void transpose_matrix(const Matrix& from, const float* rotation, const Matrix& to) {
  for (int64_t row = 0; row < from.rows; row += kLanes) {
    for (int64_t column = 0; column < from.columns; column += kLanes) {
      V re[kLanes], im[kLanes];
      const auto turn = [&](const Matrix& natural, int64_t first, int64_t at) {
        for (int64_t i = 0; rotation && i < kLanes; ++i) {
          const Complex w = Complex::load(rotation + (first + i) * natural.columns + at, natural.rows * natural.columns);
          const Complex x = Complex{re[i], im[i]} * (kInverse ? conjugate(w) : w);
          re[i] = x.re;
          im[i] = x.im;
        }
      };
      for (int64_t i = 0; i < kLanes; ++i) {
        const Complex x = Complex::load(from.re + (row + i) * from.columns + column, from.im);
        re[i] = x.re;
        im[i] = x.im;
      }
      if (!kInverse) turn(from, row, column);
      transpose(re);
      transpose(im);
      if (kInverse) turn(to, column, row);
      for (int64_t i = 0; i < kLanes; ++i) Complex{re[i], im[i]}.store(to.re + (column + i) * to.columns + row, to.im);
    }
  }
}

// --- tiles ------------------------------------------------------------------------------------------------------------------

// One task: pairs of tiles of one image by one group of channels.
struct Task {
  const gossamer::ConvArgs& a;
  const gossamer::FftPlan& plan;
  int64_t image, group, first, count;  // pairs

  Matrix natural() const { return {a.scratch + plan.work, plan.points(), plan.rows, plan.columns}; }
  Matrix turned() const { return {a.scratch + plan.work + 2 * plan.points(), plan.points(), plan.columns, plan.rows}; }
  const float* rotation() const { return plan.line ? a.weights : nullptr; }
  int64_t channels() const { return a.shape.in_channels / a.shape.groups; }
  // Where the transformed inputs begin: pair p of the task, channel c.
  float* input(int64_t p, int64_t c) const {
    return a.scratch + ((p / kPairs * channels() + c) * kPairs + p % kPairs) * 2 * kLanes;
  }
  // Products of output channel o of those multiplied at a time.
  Matrix product(int64_t p, int64_t o) const {
    return {a.scratch + plan.products + (o * plan.block + p) * 2 * plan.points(), plan.points(), plan.columns, plan.rows};
  }
};

// The inputs of a tile of one channel, zeros beyond the image and for tiles beyond the last.
void load_tile(const gossamer::ConvShape& s, const gossamer::FftPlan& plan, const float* x, int64_t tile, float* to) {
  const int64_t top = tile / plan.tiles_x * plan.out_h - s.pad_top, left = tile % plan.tiles_x * plan.out_w - s.pad_left;
  for (int64_t i = 0; i < plan.rows; ++i, to += plan.columns) {
    const int64_t row = plan.line ? 0 : top + i, first = plan.line ? left + i * plan.columns : left;
    const bool inside = tile < plan.tiles && row >= 0 && row < s.in_h;
    for (int64_t j = 0; j < plan.columns; j += kLanes) {
      const int64_t at = first + j;
      const bool any = inside && at + kLanes > 0 && at < s.in_w;
      (any ? V::load(x + row * s.in_w + at, V::lanes(-at, s.in_w - at)) : V::zero()).store(to + j);
    }
  }
}

void transform_inputs(const Task& t) {
  const gossamer::ConvShape& s = t.a.shape;
  const Matrix natural = t.natural(), turned = t.turned();
  const float* x = t.a.x + (t.image * s.in_channels + t.group * t.channels()) * s.in_h * s.in_w;
  for (int64_t c = 0; c < t.channels(); ++c, x += s.in_h * s.in_w) {
    for (int64_t p = 0; p < t.count; ++p) {
      load_tile(s, t.plan, x, 2 * (t.first + p), natural.re);
      load_tile(s, t.plan, x, 2 * (t.first + p) + 1, natural.re + natural.im);
      transform_rows(natural);
      transpose_matrix<false>(natural, t.rotation(), turned);
      transform_rows(turned);
      float* to = t.input(p, c);
      for (int64_t j = 0; j < t.plan.points(); j += kLanes, to += t.plan.in_vector) Complex::load(turned.re + j, turned.im).store(to, kLanes);
    }
  }
}

// Outputs of a tile, which lie in the rows of a matrix of plan.columns.
void store_tile(const Task& t, int64_t tile, int64_t channel, const float* from) {
  const gossamer::ConvArgs& a = t.a;
  const gossamer::ConvShape& s = a.shape;
  const int64_t top = tile / t.plan.tiles_x * t.plan.out_h, left = tile % t.plan.tiles_x * t.plan.out_w;
  const int64_t height = s.out_h - top < t.plan.out_h ? s.out_h - top : t.plan.out_h;
  const int64_t width = s.out_w - left < t.plan.out_w ? s.out_w - left : t.plan.out_w;
  const V bias = V::broadcast(a.bias ? a.bias[channel] : 0.0f), low = V::broadcast(a.low), high = V::broadcast(a.high);
  for (int64_t i = 0; i < height; ++i, from += t.plan.columns) {
    const int64_t at = ((t.image * s.out_channels + channel) * s.out_h + top + i) * s.out_w + left;
    for (int64_t j = 0; j < width; j += kLanes) {
      const int n = static_cast<int>(width - j < kLanes ? width - j : kLanes);
      V y = V::load(from + j, n) + bias;
      if (a.residual) y = y + V::load(a.residual + at + j, n);
      clamp(y, low, high).store(a.y + at + j, n);
    }
  }
}

void transform_outputs(const Task& t, int64_t p, int64_t o, int64_t channel) {
  const Matrix turned = t.product(p, o), natural = t.natural();
  transform_rows_back(turned);
  transpose_matrix<true>(turned, t.rotation(), natural);
  transform_rows_back(natural);
  const int64_t tile = 2 * (t.first + p);
  store_tile(t, tile, channel, natural.re);
  if (tile + 1 < t.plan.tiles) store_tile(t, tile + 1, channel, natural.re + natural.im);
}

// --- products -----------------------------------------------------------------------------------------------------------------

// One vector of points: kRows output channels by kCount pairs. w: [channel][row][2][lanes].
template <int kRows, int kCount>
inline void multiply_vector(int64_t channels, const float* x, const float* w, Complex (&sum)[kRows * kCount]) {
  unrolled<kRows * kCount>([&](auto i) __attribute__((always_inline)) { sum[i] = {V::zero(), V::zero()}; });
  for (int64_t c = 0; c < channels; ++c, x += kPairs * 2 * kLanes, w += kRows * 2 * kLanes) {
    Complex in[kCount];
    V minus[kCount];
    unrolled<kCount>([&](auto j) __attribute__((always_inline)) {
      in[j] = Complex::load(x + j * 2 * kLanes, kLanes);
      minus[j] = V::zero() - in[j].im;
    });
    unrolled<kRows>([&](auto i) __attribute__((always_inline)) {
      const Complex weight = Complex::load(w + i * 2 * kLanes, kLanes);
      unrolled<kCount>([&](auto j) __attribute__((always_inline)) {
        Complex& s = sum[i * kCount + j];
        s = {fma(minus[j], weight.im, fma(in[j].re, weight.re, s.re)), fma(in[j].im, weight.re, fma(in[j].re, weight.im, s.im))};
      });
    });
  }
}

template <int kRows, int kCount>
void multiply_pairs(const Task& t, int64_t vector, int64_t first, const float* w) {
  Complex sum[kRows * kCount];
  multiply_vector<kRows, kCount>(t.channels(), t.input(first, 0) + vector * t.plan.in_vector, w, sum);
  unrolled<kRows>([&](auto i) __attribute__((always_inline)) {
    unrolled<kCount>([&](auto j) __attribute__((always_inline)) {
      const Matrix to = t.product(first + j, i);
      sum[i * kCount + j].store(to.re + vector * kLanes, to.im);
    });
  });
}

// Products of the task's pairs by kRows output channels. w: [vector of points][channel][row][2][lanes].
template <int kRows>
void multiply(const Task& t, const float* w) {
  for (int64_t vector = 0; vector < t.plan.points() / kLanes; ++vector, w += t.channels() * kRows * 2 * kLanes) {
    int64_t p = 0;
    for (; p + kPairs <= t.count; p += kPairs) multiply_pairs<kRows, kPairs>(t, vector, p, w);
    if (p < t.count) multiply_pairs<kRows, 1>(t, vector, p, w);
  }
}

void run_task(const Task& t) {
  transform_inputs(t);
  const int64_t rows = t.a.shape.rows(), together = rows < kOuts ? 1 : kOuts;
  const int64_t filled = (rows + together - 1) / together * together, filter = t.channels() * 2 * t.plan.points();
  const float* w = t.a.weights + t.plan.rotation() + t.group * filled * filter;
  for (int64_t first = 0; first < rows; first += together, w += together * filter) {
    together == 1 ? multiply<1>(t, w) : multiply<kOuts>(t, w);
    for (int64_t o = 0; o < together && first + o < rows; ++o) {
      for (int64_t p = 0; p < t.count; ++p) transform_outputs(t, p, o, t.group * rows + first + o);
    }
  }
}

void fft(const gossamer::ConvArgs& a) {
  const gossamer::FftPlan plan = gossamer::fft_plan(a.shape, kTile);
  for (int64_t index = a.task_begin; index < a.task_end; ++index) {
    const int64_t first = index % plan.blocks * plan.block, left = plan.pairs - first;
    run_task({a, plan, index / plan.blocks / a.shape.groups, index / plan.blocks % a.shape.groups, first, left < plan.block ? left : plan.block});
  }
}

}  // namespace
