// One float16 (IEEE 754 binary16) from and to wider floats. The only conversions that the compiler has for machines without
// F16C are calls into its library, one for each element.
#pragma once

#include <bit>
#include <concepts>
#include <cstdint>

namespace gossamer {

// Rounded to nearest, ties to even; too large: infinity; NaN: quiet, with the first bits of its payload.
template <std::floating_point Float>
constexpr uint16_t half_bits(Float x) {
  constexpr bool kSingle = sizeof(Float) == 4;
  using Bits = std::conditional_t<kSingle, uint32_t, uint64_t>;
  constexpr int kFraction = kSingle ? 23 : 52, kBias = kSingle ? 127 : 1023, kDropped = kFraction - 10;
  constexpr Bits kSign = Bits{1} << (8 * sizeof(Float) - 1), kInfinity = Bits(2 * kBias + 1) << kFraction;
  constexpr Bits kTooLarge = std::bit_cast<Bits>(Float(65520)), kLeastNormal = std::bit_cast<Bits>(Float(1) / 16384);
  const Bits bits = std::bit_cast<Bits>(x), size = bits & ~kSign;
  const auto sign = static_cast<uint16_t>((bits & kSign) >> (8 * sizeof(Float) - 16));
  if (size > kInfinity) return static_cast<uint16_t>(sign | 0x7e00 | (size >> kDropped & 0x3ff));
  if (size >= kTooLarge) return static_cast<uint16_t>(sign | 0x7c00);
  if (size < kLeastNormal) {  // a multiple of 2^-24: the addition rounds to one
    constexpr Float kPush = kSingle ? Float(0.5) : Float(1 << 28);
    return static_cast<uint16_t>(sign | (std::bit_cast<Bits>(std::bit_cast<Float>(size) + kPush) - std::bit_cast<Bits>(kPush)));
  }
  const Bits half = (Bits{1} << (kDropped - 1)) - 1 + (size >> kDropped & 1);
  return static_cast<uint16_t>(sign | (size + half - (Bits(kBias - 15) << kFraction)) >> kDropped);
}

// Exact. NaN: quiet.
constexpr float half_value(uint16_t half) {
  const uint32_t sign = uint32_t{half} >> 15 << 31, size = half & 0x7fffu;
  if (size > 0x7c00) return std::bit_cast<float>(sign | 0x7fc00000u | size << 13);
  if (size == 0x7c00) return std::bit_cast<float>(sign | 0x7f800000u);
  if (size < 0x400) return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(static_cast<float>(size) * 0x1p-24f));
  return std::bit_cast<float>(sign | ((size << 13) + (112u << 23)));
}

}  // namespace gossamer
