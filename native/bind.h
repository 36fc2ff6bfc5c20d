// What the halves of the Python module share: arrays seen as memory and as tensors, errors by their name.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <span>
#include <string>
#include <utility>

#include "runtime/errors.h"
#include "runtime/model.h"

namespace nb = nanobind;
namespace engine = gossamer;

void bind_codec(nb::module_& m);
void bind_engine(nb::module_& m);
void bind_kernels(nb::module_& m);

[[noreturn]] inline void raise(const char* error, const std::string& message) {
  PyErr_SetString(nb::module_::import_("gossamer.errors").attr(error).ptr(), message.c_str());
  throw nb::python_error();
}

inline engine::Shape to_shape(nb::handle sizes) {
  engine::Shape shape;
  for (nb::handle size : sizes) shape.push_back(nb::cast<int64_t>(size));
  return shape;
}

inline nb::tuple to_tuple(const engine::Shape& shape) {
  nb::list sizes;
  for (const int64_t size : shape) sizes.append(size);
  return nb::tuple(sizes);
}

// A contiguous array's memory while this object lives, through the buffer protocol (which costs less than DLPack).
class Memory {
 public:
  Memory() = default;
  Memory(nb::handle array, bool writable) {
    const int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0);
    if (PyObject_GetBuffer(array.ptr(), &view_, flags) != 0) throw nb::python_error();
  }
  Memory(Memory&& other) noexcept : view_(std::exchange(other.view_, Py_buffer{})) {}
  // Reads a contiguous array; false where it is not one.
  bool take(nb::handle array) {
    if (PyObject_GetBuffer(array.ptr(), &view_, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) == 0) return true;
    PyErr_Clear();
    return false;
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory() {
    if (view_.obj) PyBuffer_Release(&view_);
  }

  std::byte* data() const { return static_cast<std::byte*>(view_.buf); }
  int64_t bytes() const { return view_.len; }
  std::span<const int64_t> sizes() const {
    static_assert(sizeof(Py_ssize_t) == sizeof(int64_t));
    return {reinterpret_cast<const int64_t*>(view_.shape), static_cast<size_t>(view_.ndim)};
  }
  bool holds(engine::DType dtype) const {
    const std::string_view format = view_.format ? view_.format : "B";
    switch (dtype) {
      case engine::DType::float32: return format == "f";
      case engine::DType::int64: return format == "l" || format == "q";
      case engine::DType::int32: return format == "i" || (format == "l" && view_.itemsize == 4);
      case engine::DType::boolean: return format == "?";
      case engine::DType::uint8: return format == "B";
      case engine::DType::int8: return format == "b";
      case engine::DType::int16: return format == "h";
      case engine::DType::uint16: return format == "H";
      case engine::DType::uint32: return format == "I" || (format == "L" && view_.itemsize == 4);
      case engine::DType::uint64: return format == "L" || format == "Q";
      case engine::DType::float16: return format == "e";
      case engine::DType::float64: return format == "d";
    }
    return false;
  }

 private:
  Py_buffer view_{};
};

inline std::shared_ptr<std::byte[]> copy_of(const Memory& memory) {
  auto copy = engine::allocate(memory.bytes());
  std::copy_n(memory.data(), memory.bytes(), copy.get());
  return copy;
}

inline engine::Tensor to_tensor(nb::handle array) {
  const std::string dtype = nb::cast<std::string>(nb::str(array.attr("dtype").attr("name")));
  const auto type = engine::dtype_from_name(dtype);
  if (!type) throw engine::Unsupported("an array of " + dtype + "; " + engine::dtype_names() + " are supported");
  return {*type, to_shape(array.attr("shape")), copy_of(Memory(array, false))};
}
