// Included once per instruction set, after simd/*.h. One or two images: each row is a gathered inner product. More: they
// are transposed, lanes across images, and every kept weight is one broadcast multiply-add without a gather.
#pragma once

#include "kernels/sparse/sparse.h"

namespace {

struct PlainValues {
  const float* values;
  float one(int64_t i) const { return values[i]; }
  V load(int64_t i) const { return V::load(values + i); }
  V load(int64_t i, int n) const { return V::load(values + i, n); }
};

template <class Code, bool kSmall>
struct CodedValues {
  const Code* codes;
  const float* table;
  Centroids<kSmall> centroids;
  float one(int64_t i) const { return table[codes[i]]; }
  V load(int64_t i) const { return centroids(codes + i); }
  V load(int64_t i, int n) const { return V::gather(table, codes + i, n); }
};

inline void finish(const gossamer::SparseArgs& a, int64_t image, int64_t row, float sum) {
  const int64_t at = image * a.w.rows + row;
  const float x = a.residual ? sum + a.residual[at] : sum;
  a.y[at] = x < a.low ? a.low : x > a.high ? a.high : x;
}

template <class Index, class Values>
void dots(const gossamer::SparseArgs& a, const Index* index, const Values& values) {
  for (int64_t image = 0; image < a.batch; ++image) {
    const float* x = a.x + image * a.w.columns;
    for (int64_t row = a.row_begin; row < a.row_end; ++row) {
      const int64_t end = a.w.starts[row + 1];
      int64_t i = a.w.starts[row];
      V sum = V::zero();
      for (; i + V::kLanes <= end; i += V::kLanes) sum = fma(values.load(i), V::gather(x, index + i), sum);
      if (i < end) {
        const int left = static_cast<int>(end - i);
        sum = fma(values.load(i, left), V::gather(x, index + i, left), sum);
      }
      finish(a, image, row, sum.sum() + (a.bias ? a.bias[row] : 0.0f));
    }
  }
}

// scratch[column][lane] = x[first + lane][column], zero where there is no such image.
inline void transpose_images(const gossamer::SparseArgs& a, int64_t first, int64_t count) {
  for (int64_t column = 0; column < a.w.columns; ++column) {
    float* to = a.scratch + column * V::kLanes;
    for (int64_t lane = 0; lane < V::kLanes; ++lane) {
      to[lane] = lane < count ? a.x[(first + lane) * a.w.columns + column] : 0.0f;
    }
  }
}

template <class Index, class Values>
V column_sums(const gossamer::SparseArgs& a, const Index* index, const Values& values, int64_t row) {
  V sum[4] = {V::broadcast(a.bias ? a.bias[row] : 0.0f), V::zero(), V::zero(), V::zero()};
  const int64_t end = a.w.starts[row + 1];
  int64_t i = a.w.starts[row];
  const auto add = [&](V& to, int64_t at) {
    to = fma(V::broadcast(values.one(at)), V::load(a.scratch + int64_t{index[at]} * V::kLanes), to);
  };
  for (; i + 4 <= end; i += 4) {
    for (int s = 0; s < 4; ++s) add(sum[s], i + s);
  }
  for (; i < end; ++i) add(sum[0], i);
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

template <class Index, class Values>
void multiply(const gossamer::SparseArgs& a, const Values& values) {
  const Index* index = static_cast<const Index*>(a.w.indices);
  if (a.batch <= 2) return dots(a, index, values);
  for (int64_t first = 0; first < a.batch; first += V::kLanes) {
    const int64_t count = a.batch - first < V::kLanes ? a.batch - first : V::kLanes;
    transpose_images(a, first, count);
    for (int64_t row = a.row_begin; row < a.row_end; ++row) {
      float lanes[V::kLanes];
      column_sums(a, index, values, row).store(lanes);
      for (int64_t lane = 0; lane < count; ++lane) finish(a, first + lane, row, lanes[lane]);
    }
  }
}

template <class Index>
void by_values(const gossamer::SparseArgs& a) {
  const gossamer::SparseMatrix& w = a.w;
  if (!w.codes) return multiply<Index>(a, PlainValues{w.values});
  const Centroids<false> any(w.values, w.centroid_count);
  if (w.code_bytes == 2) {
    return multiply<Index>(a, CodedValues<uint16_t, false>{static_cast<const uint16_t*>(w.codes), w.values, any});
  }
  const uint8_t* codes = static_cast<const uint8_t*>(w.codes);
  if constexpr (kSmallCodebook > 0) {
    if (w.centroid_count <= kSmallCodebook) {
      const Centroids<true> small(w.values, w.centroid_count);
      return multiply<Index>(a, CodedValues<uint8_t, true>{codes, w.values, small});
    }
  }
  multiply<Index>(a, CodedValues<uint8_t, false>{codes, w.values, any});
}

void sparse(const gossamer::SparseArgs& a) {
  if (a.w.index_bytes == 2) by_values<uint16_t>(a);
  else by_values<uint32_t>(a);
}

}  // namespace
