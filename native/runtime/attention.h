// The attributes of gossamer.Attention, between what recognizes it and what runs it.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace gossamer {

// Places where a quantized network rounds to the steps of QuantizeLinear and back: attribute "rounding", four numbers
// each (scale, zero point, least and largest quantum); a scale of 0 means none.
enum class AttentionPlace { q, k, v, scores, weights, output };
inline constexpr size_t kAttentionPlaces = 6;

struct Rounding {
  float scale = 0, zero = 0, low = 0, high = 0;
};

}  // namespace gossamer
