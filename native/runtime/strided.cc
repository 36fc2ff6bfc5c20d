#include "runtime/strided.h"

#include <cstring>

#include "runtime/errors.h"

namespace gossamer {
namespace {

template <class T>
void copy_elements(const Walk& walk, const T* from, T* to) {
  const int64_t n = walk.inner(), step_to = walk.inner_stride(0), step_from = walk.inner_stride(1);
  walk.each_run([&](int64_t to_at, int64_t from_at, int64_t) {
    if (step_to == 1 && step_from == 1) {
      std::memcpy(to + to_at, from + from_at, static_cast<size_t>(n) * sizeof(T));
      return;
    }
    for (int64_t i = 0; i < n; ++i) to[to_at + i * step_to] = from[from_at + i * step_from];
  });
}

}  // namespace

Walk make_walk(const Shape& shape, const Shape& strides0, const Shape& strides1, const Shape& strides2) {
  if (shape.size() > kMostDimensions) {
    throw Unsupported("a tensor of " + std::to_string(shape.size()) + " dimensions; at most 12 are supported");
  }
  const Shape* strides[3] = {&strides0, &strides1, &strides2};
  Walk walk;
  for (size_t d = 0; d < shape.size(); ++d) {
    if (shape[d] == 1) continue;
    bool merged = walk.rank > 0;
    for (int a = 0; a < 3 && merged; ++a) merged = walk.strides[a][walk.rank - 1] == (*strides[a])[d] * shape[d];
    if (!merged) ++walk.rank;
    const size_t last = walk.rank - 1;
    walk.sizes[last] = merged ? walk.sizes[last] * shape[d] : shape[d];
    for (int a = 0; a < 3; ++a) walk.strides[a][last] = (*strides[a])[d];
  }
  if (walk.rank == 0) {
    walk.rank = 1;
    walk.sizes[0] = 1;
    for (int a = 0; a < 3; ++a) walk.strides[a][0] = 1;
  }
  return walk;
}

Shape broadcast_strides(const Shape& own, const Shape& shape) {
  const Shape strides = row_major(own);
  Shape result(shape.size(), 0);
  for (size_t d = 0; d < own.size(); ++d) {
    if (own[d] != 1) result[d + shape.size() - own.size()] = strides[d];
  }
  return result;
}

void copy_strided(const Walk& walk, int64_t element_size, const std::byte* from, std::byte* to) {
  const auto typed = [&]<class T>(T*) { copy_elements(walk, reinterpret_cast<const T*>(from), reinterpret_cast<T*>(to)); };
  if (element_size == 1) typed(static_cast<uint8_t*>(nullptr));
  else if (element_size == 2) typed(static_cast<uint16_t*>(nullptr));
  else if (element_size == 4) typed(static_cast<uint32_t*>(nullptr));
  else typed(static_cast<uint64_t*>(nullptr));
}

}  // namespace gossamer
