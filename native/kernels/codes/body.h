// Included once per instruction set, after simd/*_int.h, with kTile defined.
#pragma once

#include "kernels/codes/codes.h"
#include "kernels/simd/unrolled.h"

namespace {

// What a vector of codes means, before the scale.
struct Numbers {
  static constexpr bool kHasZeros = true;
  V operator()(I code, V zero) const { return to_float(code) - zero; }
};

// A table in registers: the bits of a code above a lane's number choose among them, half by half.
template <int kRegisters>
struct Registers {
  static constexpr bool kHasZeros = false;
  V part[kRegisters];
  Registers(const float* table, int count) {
    unrolled<kRegisters>([&](auto i) __attribute__((always_inline)) {
      const int left = count - i * V::kLanes;
      part[i] = left >= V::kLanes ? V::load(table + i * V::kLanes) : left > 0 ? V::load(table + i * V::kLanes, left) : V::zero();
    });
  }
  template <int kFirst, int kCount>
  V among(I code) const {
    if constexpr (kCount == 2) {
      return either(part[kFirst], part[kFirst + 1], code);
    } else {
      constexpr int kHalf = kCount / 2;
      return if_bit(code, kHalf * V::kLanes, among<kFirst + kHalf, kHalf>(code), among<kFirst, kHalf>(code));
    }
  }
  V operator()(I code, V) const { return among<0, kRegisters>(code); }
};

// Any table, one look at a time.
struct Looked {
  static constexpr bool kHasZeros = false;
  const float* table;
  V operator()(I code, V) const {
    int32_t at[V::kLanes];
    code.store(at);
    return V::gather(table, at);
  }
};

template <class Meaning>
void decode_rows(const gossamer::CodedPanels& w, int64_t panel, int64_t row, int64_t rows, int64_t columns, float* to,
                 const Meaning& meaning) {
  const int64_t per_word = 32 / w.bits, word_rows = (w.k + per_word - 1) / per_word, blocks = (w.k + w.block - 1) / w.block;
  const I mask = I::broadcast((1 << w.bits) - 1), shift = I::broadcast(w.bits), skip = I::broadcast(static_cast<int32_t>(row % per_word) * w.bits);
  for (int64_t column = 0; column < columns; column += V::kLanes) {
    const auto* words = reinterpret_cast<const int32_t*>(w.words) + (panel * word_rows + row / per_word) * w.width + column;
    int64_t left = per_word - row % per_word, block = row / w.block, until = row;
    I bits = I::load(words) >> skip;
    V scale = V::zero(), zero = V::zero();
    float* at = to + column;
    for (int64_t p = row; p < row + rows;) {
      if (p == until) {
        const int64_t number = (panel * blocks + block++) * w.width + column;
        scale = V::load(w.scales + number);
        if constexpr (Meaning::kHasZeros) zero = to_float(I::load_bytes(w.zeros + number, false));
        until = block * w.block;
      }
      if (left == 0) {
        words += w.width;
        bits = I::load(words);
        left = per_word;
      }
      int64_t end = p + left;
      end = end < until ? end : until;
      end = end < row + rows ? end : row + rows;
      left -= end - p;
      for (; p < end; ++p, at += columns) {
        (meaning(bits & mask, zero) * scale).store(at);
        bits = bits >> shift;
      }
    }
  }
}

// kRegisters: how many registers a table may take.
template <int kRegisters>
void decode_codes(const gossamer::CodedPanels& w, int64_t panel, int64_t row, int64_t rows, int64_t columns, float* to) {
  const auto with = [&](const auto& meaning) { decode_rows(w, panel, row, rows, columns, to, meaning); };
  if (!w.table) return with(Numbers{});
  if constexpr (kRegisters >= 4) {
    if (w.table_size <= 2 * V::kLanes) return with(Registers<2>(w.table, w.table_size));
    if (w.table_size <= 4 * V::kLanes) return with(Registers<4>(w.table, w.table_size));
  }
  if constexpr (kRegisters >= 16) {
    if (w.table_size <= 8 * V::kLanes) return with(Registers<8>(w.table, w.table_size));
    if (w.table_size <= 16 * V::kLanes) return with(Registers<16>(w.table, w.table_size));
  }
  with(Looked{w.table});
}

}  // namespace
