// The first n elements of a vector, n less than all, for instruction sets without masks; zeros stand for the rest.
#pragma once

#include <cstring>

namespace {

inline Floats load_part(const float* p, int64_t n) {
  float all[kLanes] = {};
  std::memcpy(all, p, static_cast<size_t>(n) * sizeof(float));
  return load_floats(all);
}
inline void store_part(Floats x, float* p, int64_t n) {
  float all[kLanes];
  store_floats(x, all);
  std::memcpy(p, all, static_cast<size_t>(n) * sizeof(float));
}
inline Bytes load_part(const uint8_t* p, int64_t n) {
  uint8_t all[kVectorBytes] = {};
  std::memcpy(all, p, static_cast<size_t>(n));
  return load_bytes(all);
}
inline void store_part(Bytes x, uint8_t* p, int64_t n) {
  uint8_t all[kVectorBytes];
  store_bytes(x, all);
  std::memcpy(p, all, static_cast<size_t>(n));
}

}  // namespace
