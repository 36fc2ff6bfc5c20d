// Element types, shapes and owned memory: what the planner and the operators talk about.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gossamer {

enum class DType : uint8_t { float32, int64, int32, boolean, uint8, int8, int16, uint16, uint32, uint64, float16, float64 };

const char* dtype_name(DType dtype);  // NumPy's name
std::optional<DType> dtype_from_name(std::string_view name);
std::optional<DType> dtype_from_onnx(int64_t number);  // TensorProto.DataType
int64_t dtype_size(DType dtype);
std::string dtype_names();  // all of them, for messages
bool is_float(DType dtype);

using Shape = std::vector<int64_t>;

std::string shape_text(const Shape& shape);  // "(1, 28, 28)"

// Product of the sizes. Throws ShapeError where it exceeds kMaxElements or a size is negative.
int64_t element_count(const Shape& shape);
inline constexpr int64_t kMaxElements = int64_t{1} << 34;

// Row-major strides in elements.
Shape row_major(const Shape& shape);

// Memory for n bytes at a 64-byte boundary, zeroed.
std::shared_ptr<std::byte[]> allocate(int64_t bytes);

}  // namespace gossamer
