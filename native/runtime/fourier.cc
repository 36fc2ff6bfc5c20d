#include "runtime/fourier.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

namespace gossamer {
namespace {

int64_t power_of_two(int64_t least) {
  int64_t m = 1;
  while (m < least) m *= 2;
  return m;
}

}  // namespace

Fourier::Fourier(int64_t n) : n_(n), m_(power_of_two(n)) {
  if (m_ != n) m_ = power_of_two(2 * n - 1);
  for (int64_t k = 0; k < m_; ++k) {
    const double angle = -2 * std::numbers::pi * static_cast<double>(k) / static_cast<double>(m_);
    cos_.push_back(std::cos(angle));
    sin_.push_back(std::sin(angle));
  }
  if (m_ == n) return;
  filter_re_.assign(static_cast<size_t>(m_), 0);
  filter_im_ = filter_re_;
  for (int64_t t = 0; t < n; ++t) {
    const double angle = -std::numbers::pi * static_cast<double>(t * t % (2 * n)) / static_cast<double>(n);
    chirp_re_.push_back(std::cos(angle));
    chirp_im_.push_back(std::sin(angle));
    for (const int64_t at : {t, (m_ - t) % m_}) {
      filter_re_[static_cast<size_t>(at)] = chirp_re_.back();
      filter_im_[static_cast<size_t>(at)] = -chirp_im_.back();
    }
  }
  powers_of_two(filter_re_.data(), filter_im_.data());
}

void Fourier::powers_of_two(double* re, double* im) const {
  for (int64_t i = 1, j = 0; i < m_; ++i) {  // to the order of reversed bits
    int64_t bit = m_ >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i >= j) continue;
    std::swap(re[i], re[j]);
    std::swap(im[i], im[j]);
  }
  for (int64_t half = 1; half < m_; half *= 2) {
    const int64_t step = m_ / (2 * half);
    for (int64_t first = 0; first < m_; first += 2 * half) {
      for (int64_t k = 0; k < half; ++k) {
        const double c = cos_[static_cast<size_t>(k * step)], s = sin_[static_cast<size_t>(k * step)];
        double &a = re[first + k], &b = im[first + k], &x = re[first + k + half], &y = im[first + k + half];
        const double turned_re = c * x - s * y, turned_im = c * y + s * x;
        x = a - turned_re;
        y = b - turned_im;
        a += turned_re;
        b += turned_im;
      }
    }
  }
}

void Fourier::forward(double* re, double* im, double* work) const {
  if (m_ == n_) return powers_of_two(re, im);
  double *u = work, *v = work + m_;
  std::fill_n(work, 2 * m_, 0.0);
  const auto chirped = [&](size_t t, double x, double y, double& to_re, double& to_im) {
    to_re = x * chirp_re_[t] - y * chirp_im_[t];
    to_im = x * chirp_im_[t] + y * chirp_re_[t];
  };
  for (int64_t t = 0; t < n_; ++t) chirped(static_cast<size_t>(t), re[t], im[t], u[t], v[t]);
  powers_of_two(u, v);
  for (int64_t k = 0; k < m_; ++k) {  // conjugated, so that the same transform leads back
    const auto i = static_cast<size_t>(k);
    const double x = u[k] * filter_re_[i] - v[k] * filter_im_[i], y = u[k] * filter_im_[i] + v[k] * filter_re_[i];
    u[k] = x;
    v[k] = -y;
  }
  powers_of_two(u, v);
  const auto m = static_cast<double>(m_);
  for (int64_t t = 0; t < n_; ++t) chirped(static_cast<size_t>(t), u[t] / m, -v[t] / m, re[t], im[t]);
}

void Fourier::inverse(double* re, double* im, double* work) const {
  for (int64_t t = 0; t < n_; ++t) im[t] = -im[t];
  forward(re, im, work);
  const auto n = static_cast<double>(n_);
  for (int64_t t = 0; t < n_; ++t) {
    re[t] /= n;
    im[t] /= -n;
  }
}

}  // namespace gossamer
