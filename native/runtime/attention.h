// gossamer.Attention: its attributes, between what recognizes it and what runs it, and what they say about its tensors.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace gossamer {

// Places where a quantized network rounds to the steps of QuantizeLinear and back: attribute "rounding", four numbers
// each (scale, zero point, least and largest quantum); a scale of 0 means none.
enum class AttentionPlace { q, k, v, scores, weights, output };
inline constexpr std::size_t kAttentionPlaces = 6;

struct Rounding {
  float scale = 0, zero = 0, low = 0, high = 0;
};

// A tensor of four dimensions, seen in the order of its mathematics.
struct View {
  std::array<int64_t, 4> size{}, stride{};

  int64_t offset(int64_t batch, int64_t head) const { return batch * stride[0] + head * stride[1]; }
};

struct Attention {
  View q, k, v, mask, out;
  int64_t batch = 0, heads = 0, rows = 0, columns = 0, depth = 0, width = 0;  // B, H, S, T, D, E
  float scale = 1;
  bool has_mask = false, replaces_nan = false;
  std::array<Rounding, kAttentionPlaces> rounding;

  const Rounding& at(AttentionPlace place) const { return rounding[static_cast<std::size_t>(place)]; }
};

}  // namespace gossamer
