#include "runtime/tensor.h"

#include <cstdlib>
#include <cstring>
#include <new>

#include "runtime/errors.h"

namespace gossamer {
namespace {

struct TypeRow {
  const char* name;
  int64_t size, onnx;
};
constexpr TypeRow kTypes[] = {{"float32", 4, 1}, {"int64", 8, 7},   {"int32", 4, 6},   {"bool", 1, 9},
                              {"uint8", 1, 2},   {"int8", 1, 3},    {"int16", 2, 5},   {"uint16", 2, 4},
                              {"uint32", 4, 12}, {"uint64", 8, 13}, {"float16", 2, 10}, {"float64", 8, 11}};

}  // namespace

const char* dtype_name(DType dtype) { return kTypes[static_cast<int>(dtype)].name; }

int64_t dtype_size(DType dtype) { return kTypes[static_cast<int>(dtype)].size; }

std::string dtype_names() {
  std::string names = kTypes[0].name;
  for (size_t i = 1; i < std::size(kTypes); ++i) names += std::string(i + 1 < std::size(kTypes) ? ", " : " and ") + kTypes[i].name;
  return names;
}

bool is_float(DType dtype) { return dtype == DType::float32 || dtype == DType::float16 || dtype == DType::float64; }

std::optional<DType> dtype_from_name(std::string_view name) {
  for (int i = 0; i < static_cast<int>(std::size(kTypes)); ++i) {
    if (name == kTypes[i].name) return static_cast<DType>(i);
  }
  return std::nullopt;
}

std::optional<DType> dtype_from_onnx(int64_t number) {
  for (int i = 0; i < static_cast<int>(std::size(kTypes)); ++i) {
    if (number == kTypes[i].onnx) return static_cast<DType>(i);
  }
  return std::nullopt;
}

std::string shape_text(const Shape& shape) {
  std::string text = "(";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + (shape.size() == 1 ? ",)" : ")");
}

int64_t element_count(const Shape& shape) {
  int64_t count = 1;
  for (const int64_t size : shape) {
    if (size < 0) throw ShapeError("a dimension of " + shape_text(shape) + " is negative");
    if (__builtin_mul_overflow(count, size, &count) || count > kMaxElements) {
      throw ShapeError("a tensor of shape " + shape_text(shape) + " has more than 2^34 elements");
    }
  }
  return count;
}

Shape row_major(const Shape& shape) {
  Shape strides(shape.size());
  int64_t stride = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    strides[i] = stride;
    stride *= shape[i];
  }
  return strides;
}

std::shared_ptr<std::byte[]> allocate(int64_t bytes) {
  const size_t size = (static_cast<size_t>(bytes) + 64 + 63) / 64 * 64;
  void* memory = std::aligned_alloc(64, size);
  if (!memory) throw std::bad_alloc();
  std::memset(memory, 0, size);
  return {static_cast<std::byte*>(memory), [](std::byte* p) { std::free(p); }};
}

}  // namespace gossamer
