// From an element type to the C++ type that holds it.
#pragma once

#include <limits>
#include <type_traits>

#include "runtime/tensor.h"

namespace gossamer {

using Half = _Float16;  // arithmetic is done in float and rounded

template <class T>
inline constexpr bool kIsReal = std::is_same_v<T, float> || std::is_same_v<T, double> || std::is_same_v<T, Half>;

// The type in which arithmetic on T is done: float for halves.
template <class T>
using Wide = std::conditional_t<std::is_same_v<T, Half>, float, T>;

// Returns f(T{}) for the type T of an element; a bool is a uint8_t.
template <class Function>
decltype(auto) with_type(DType dtype, const Function& f) {
  switch (dtype) {
    case DType::float32: return f(float{});
    case DType::int64: return f(int64_t{});
    case DType::int32: return f(int32_t{});
    case DType::int8: return f(int8_t{});
    case DType::int16: return f(int16_t{});
    case DType::uint16: return f(uint16_t{});
    case DType::uint32: return f(uint32_t{});
    case DType::uint64: return f(uint64_t{});
    case DType::float16: return f(Half{});
    case DType::float64: return f(double{});
    case DType::boolean: case DType::uint8: break;
  }
  return f(uint8_t{});
}

// The same for a float type.
template <class Function>
decltype(auto) with_real(DType dtype, const Function& f) {
  if (dtype == DType::float16) return f(Half{});
  return dtype == DType::float64 ? f(double{}) : f(float{});
}

// Returns f(T{}) for an unsigned integer T of the size of an element: for operators that only move elements.
template <class Function>
decltype(auto) with_bits(DType dtype, const Function& f) {
  switch (dtype_size(dtype)) {
    case 8: return f(uint64_t{});
    case 4: return f(uint32_t{});
    case 2: return f(uint16_t{});
    default: return f(uint8_t{});
  }
}

// A number of another type. Real to whole: out of range gives the nearest value, NaN zero (ONNX leaves it open, C++
// leaves it undefined).
template <class To, class From>
To converted(From x) {
  if constexpr (std::is_same_v<From, Half>) {
    return converted<To>(static_cast<float>(x));
  } else if constexpr (kIsReal<From> && std::is_integral_v<To>) {
    constexpr double low = static_cast<double>(std::numeric_limits<To>::min());
    constexpr double high = static_cast<double>(std::numeric_limits<To>::max());
    if (x != x) return 0;
    if (static_cast<double>(x) <= low) return std::numeric_limits<To>::min();
    if (static_cast<double>(x) >= high) return std::numeric_limits<To>::max();
    return static_cast<To>(x);
  } else {
    return static_cast<To>(x);
  }
}

}  // namespace gossamer
