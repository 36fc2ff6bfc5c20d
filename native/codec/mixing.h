// Prediction of one bit at a time: adaptive probabilities in several contexts, combined by a small logistic
// mixer (a perceptron on log-odds, trained on line). Integers alone, so that every machine computes the same bits.
//
// Units: a probability is that of a 1, in 1/65536. Log-odds are ln(p / (1 - p)) in 1/256, within +-2047.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

namespace gossamer::codec {

inline constexpr int kProbabilityBits = 16;
inline constexpr int kLogOddsLimit = 2047;

// round(65536 / (1 + exp(-(k - 32) / 4))) for k = 0..64: the logistic function, sampled every 64 log-odds units.
inline constexpr std::array<int32_t, 65> kLogistic = {
    22, 28, 36, 47, 60, 77, 98, 126, 162, 208, 267, 342, 439,
    562, 720, 922, 1179, 1506, 1921, 2446, 3108, 3938, 4971, 6249, 7812, 9702,
    11955, 14595, 17625, 21025, 24743, 28693, 32768, 36843, 40793, 44511, 47911, 50941, 53581,
    55834, 57724, 59287, 60565, 61598, 62428, 63090, 63615, 64030, 64357, 64614, 64816, 64974,
    65097, 65194, 65269, 65328, 65374, 65410, 65438, 65459, 65476, 65489, 65500, 65508, 65514};

namespace detail {

// Log-odds -2047..2047 -> probability 16..65520, linear between the samples.
inline constexpr auto kSquash = [] {
  std::array<uint16_t, 4096> table{};
  for (int i = 0; i < 4096; ++i) {
    const int at = i / 64, part = i % 64;
    const int p = (kLogistic[at] * (64 - part) + kLogistic[at + 1] * part + 32) / 64;
    table[i] = static_cast<uint16_t>(std::clamp(p, 16, 65520));
  }
  return table;
}();

// Probability / 16 -> log-odds: the smallest log-odds whose probability is not below the middle of the cell.
inline constexpr auto kStretch = [] {
  std::array<int16_t, 4096> table{};
  int odds = 1;
  for (int i = 0; i < 4096; ++i) {
    while (odds < 4095 && kSquash[odds] < i * 16 + 8) ++odds;
    table[i] = static_cast<int16_t>(odds - 2048);
  }
  return table;
}();

// 32768 / (n + 1.5): the step of an adaptive probability that has seen n bits, which makes it a running mean.
inline constexpr auto kStep = [] {
  std::array<int32_t, 1024> table{};
  for (int n = 0; n < 1024; ++n) table[n] = 65536 / (2 * n + 3);
  return table;
}();

}  // namespace detail

inline int squash(int log_odds) {
  return detail::kSquash[std::clamp(log_odds, -kLogOddsLimit, kLogOddsLimit) + 2048];
}
inline int stretch(int probability) { return detail::kStretch[probability >> 4]; }

// The probability of a 1 in one context, learned from the bits seen there.
struct AdaptiveBit {
  uint16_t p = 32768;
  uint16_t seen = 0;
  static constexpr uint16_t kLimit = 1023;

  void update(int bit) {
    p = static_cast<uint16_t>(p + (((-bit & 65535) - p) * detail::kStep[seen] >> 15));
    seen = static_cast<uint16_t>(seen + (seen < kLimit));
  }
};

// Weighted sum of N log-odds; the weights follow the gradient of the coding cost. A weight of one is 65536.
template <int N>
class Mixer {
 public:
  using Inputs = std::array<int32_t, N>;

  Mixer() { weights_.fill(65536 / N); }

  int mix(const Inputs& inputs) const {
    int64_t sum = 0;
    for (int i = 0; i < N; ++i) sum += static_cast<int64_t>(inputs[i]) * weights_[i];
    return squash(static_cast<int>(std::clamp<int64_t>(sum >> 16, -kLogOddsLimit, kLogOddsLimit)));
  }
  void update(const Inputs& inputs, int probability, int bit) {
    const int error = (bit << 16) - probability;
    for (int i = 0; i < N; ++i)
      weights_[i] = std::clamp(weights_[i] + ((inputs[i] * error >> 10) * kRate >> 10), -kWeightLimit, kWeightLimit);
  }

 private:
  static constexpr int32_t kRate = 10;
  static constexpr int32_t kWeightLimit = 1 << 20;
  std::array<int32_t, N> weights_;
};

// N adaptive probabilities, one per context, mixed into one.
template <int N>
class Prediction {
 public:
  int predict(const std::array<AdaptiveBit*, N>& contexts, Mixer<N>& mixer) {
    contexts_ = contexts;
    mixer_ = &mixer;
    for (int i = 0; i < N; ++i) inputs_[i] = stretch(contexts[i]->p);
    return probability_ = mixer.mix(inputs_);
  }
  void update(int bit) {
    mixer_->update(inputs_, probability_, bit);
    for (AdaptiveBit* context : contexts_) context->update(bit);
  }
  int probability() const { return probability_; }

 private:
  std::array<AdaptiveBit*, N> contexts_{};
  Mixer<N>* mixer_ = nullptr;
  typename Mixer<N>::Inputs inputs_{};
  int probability_ = 0;
};

}  // namespace gossamer::codec
