// The one-dimensional transforms B^T d and A^T y on vectors, common sums taken once. Included after simd/*.h. The
// interpolation points are 0, 1, -1, 2, -2, 1/2, -1/2 (as many as m needs) and infinity.
#pragma once

namespace {

inline V scaled(float factor, V x) { return V::broadcast(factor) * x; }
inline V scaled_plus(float factor, V x, V y) { return fma(V::broadcast(factor), x, y); }

template <int kM>
struct Transforms;

template <>
struct Transforms<2> {
  static void input(const V (&d)[4], V (&t)[4]) {
    t[0] = d[0] - d[2];
    t[1] = d[1] + d[2];
    t[2] = d[2] - d[1];
    t[3] = d[3] - d[1];
  }
  static void output(const V (&t)[4], V (&y)[2]) {
    y[0] = t[0] + t[1] + t[2];
    y[1] = t[1] - t[2] + t[3];
  }
};

template <>
struct Transforms<4> {
  static void input(const V (&d)[6], V (&t)[6]) {
    const V even = scaled_plus(-4, d[2], d[4]), odd = scaled_plus(-4, d[1], d[3]);
    const V even2 = d[4] - d[2], odd2 = scaled(2, d[3] - d[1]);
    t[0] = scaled_plus(4, d[0], scaled_plus(-5, d[2], d[4]));
    t[1] = even + odd;
    t[2] = even - odd;
    t[3] = even2 + odd2;
    t[4] = even2 - odd2;
    t[5] = scaled_plus(4, d[1], scaled_plus(-5, d[3], d[5]));
  }
  static void output(const V (&t)[6], V (&y)[4]) {
    const V sum = t[1] + t[2], difference = t[1] - t[2], sum2 = t[3] + t[4], difference2 = t[3] - t[4];
    y[0] = t[0] + sum + sum2;
    y[1] = scaled_plus(2, difference2, difference);
    y[2] = scaled_plus(4, sum2, sum);
    y[3] = scaled_plus(8, difference2, difference) + t[5];
  }
};

template <>
struct Transforms<6> {
  static void input(const V (&d)[8], V (&t)[8]) {
    const V even = d[2] + scaled_plus(-4.25f, d[4], d[6]), odd = d[1] + scaled_plus(-4.25f, d[3], d[5]);
    const V even2 = scaled_plus(0.25f, d[2], scaled_plus(-1.25f, d[4], d[6]));
    const V odd2 = scaled_plus(0.5f, d[1], scaled_plus(-2.5f, d[3], scaled(2, d[5])));
    const V even3 = scaled_plus(4, d[2], scaled_plus(-5, d[4], d[6]));
    const V odd3 = scaled_plus(2, d[1], scaled_plus(-2.5f, d[3], scaled(0.5f, d[5])));
    t[0] = scaled_plus(5.25f, d[4] - d[2], d[0] - d[6]);
    t[1] = even + odd;
    t[2] = even - odd;
    t[3] = even2 + odd2;
    t[4] = even2 - odd2;
    t[5] = even3 + odd3;
    t[6] = even3 - odd3;
    t[7] = scaled_plus(5.25f, d[3] - d[5], d[7] - d[1]);
  }
  static void output(const V (&t)[8], V (&y)[6]) {
    const V sum = t[1] + t[2], difference = t[1] - t[2], sum2 = t[3] + t[4], difference2 = t[3] - t[4];
    const V sum3 = t[5] + t[6], difference3 = t[5] - t[6];
    y[0] = t[0] + sum + (sum2 + sum3);
    y[1] = scaled_plus(2, difference2, scaled_plus(0.5f, difference3, difference));
    y[2] = scaled_plus(4, sum2, scaled_plus(0.25f, sum3, sum));
    y[3] = scaled_plus(8, difference2, scaled_plus(0.125f, difference3, difference));
    y[4] = scaled_plus(16, sum2, scaled_plus(0.0625f, sum3, sum));
    y[5] = scaled_plus(32, difference2, scaled_plus(0.03125f, difference3, difference)) + t[7];
  }
};

}  // namespace
