// The discrete Fourier transform of any length, in double precision: by halves where the length is a power of two (Cooley and
// Tukey 1965), else as a convolution of such a length (Bluestein 1970).
#pragma once

#include <cstdint>
#include <vector>

namespace gossamer {

class Fourier {
 public:
  explicit Fourier(int64_t n);  // 1 <= n

  // Numbers of working memory that a transform needs.
  int64_t scratch() const { return chirp_re_.empty() ? 0 : 2 * m_; }

  // X(k) = sum of x(t) e^(-2 pi i k t / n), in place. `work`: of scratch() numbers.
  void forward(double* re, double* im, double* work) const;

  // x(t) = 1 / n sum of X(k) e^(2 pi i k t / n).
  void inverse(double* re, double* im, double* work) const;

 private:
  void powers_of_two(double* re, double* im) const;  // of m_ numbers

  int64_t n_, m_;
  std::vector<double> cos_, sin_;  // of -2 pi k / m
  std::vector<double> chirp_re_, chirp_im_;  // e^(-pi i t^2 / n)
  std::vector<double> filter_re_, filter_im_;  // the transform of their inverses
};

}  // namespace gossamer
