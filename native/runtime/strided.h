// Loops over arrays with strides: broadcasting, transposing, slicing.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/tensor.h"

namespace gossamer {

inline constexpr size_t kMostDimensions = 12;

// Up to three arrays walked together over one shape. Dimensions that are walked evenly by all are merged.
struct Walk {
  size_t rank = 0;  // at least 1
  int64_t sizes[kMostDimensions] = {};
  int64_t strides[3][kMostDimensions] = {};  // in elements; zero: broadcast; may be negative

  int64_t inner() const { return sizes[rank - 1]; }
  int64_t inner_stride(int array) const { return strides[array][rank - 1]; }

  // Calls f(offset0, offset1, offset2) at the start of each run of inner() elements.
  template <class Function>
  void each_run(const Function& f) const {
    int64_t index[kMostDimensions] = {};
    int64_t at[3] = {0, 0, 0};
    for (size_t d = 0; d < rank; ++d) {
      if (sizes[d] == 0) return;
    }
    while (true) {
      f(at[0], at[1], at[2]);
      size_t d = rank - 1;
      while (d-- > 0) {
        for (int a = 0; a < 3; ++a) at[a] += strides[a][d];
        if (++index[d] < sizes[d]) break;
        for (int a = 0; a < 3; ++a) at[a] -= strides[a][d] * sizes[d];
        index[d] = 0;
      }
      if (d == static_cast<size_t>(-1)) return;
    }
  }
};

// Throws Unsupported for more than kMostDimensions dimensions.
Walk make_walk(const Shape& shape, const Shape& strides0, const Shape& strides1, const Shape& strides2);

// Strides of an array of shape `own` broadcast to `shape` (ONNX rules: aligned at the last dimension).
Shape broadcast_strides(const Shape& own, const Shape& shape);

// to[walk 0] = from[walk 1], elements of 1, 2, 4 or 8 bytes.
void copy_strided(const Walk& walk, int64_t element_size, const std::byte* from, std::byte* to);

}  // namespace gossamer
