// The only file under native/ that knows Python: arrays in, arrays out, C++ exceptions mapped to gossamer.errors.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <limits>
#include <span>
#include <string>

#include "codec/pattern.h"
#include "codec/symbols.h"
#include "codec/text.h"
#include "codec/values.h"
#include "kernels/check.h"
#include "runtime/builder.h"
#include "runtime/engine.h"
#include "runtime/errors.h"

namespace nb = nanobind;

// --- codec: entropy coders (native/codec/) ---------------------------------------------------------------------
namespace codec = gossamer::codec;

template <typename T>
using Vector = nb::ndarray<T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

template <typename T>
static std::span<T> view(const Vector<T>& array) {
  return {array.data(), array.size()};
}

// Runs `encode` without the GIL; its bytes become a Python object.
template <typename Encode>
static nb::bytes encoded(Encode encode) {
  codec::Bytes out;
  {
    nb::gil_scoped_release release;
    out = encode();
  }
  return nb::bytes(out.data(), out.size());
}

// Encoder and decoder of independent symbols, as NAME_encode(symbols, alphabet) -> bytes and
// NAME_decode(data, alphabet, out).
static void bind_symbols(nb::module_& m, const std::string& name, decltype(codec::encode_packed)* encode,
                         decltype(codec::decode_packed)* decode) {
  m.def((name + "_encode").c_str(), [encode](Vector<const uint16_t> symbols, uint32_t alphabet) {
    return encoded([&] { return encode(view(symbols), alphabet); });
  });
  m.def((name + "_decode").c_str(), [decode](Vector<const uint8_t> data, uint32_t alphabet, Vector<uint16_t> out) {
    nb::gil_scoped_release release;
    decode(view(data), alphabet, view(out));
  });
}

static void bind_matrix(nb::module_& m) {
  using Positions = Vector<const int64_t>;
  m.def("pattern_encode", [](Positions positions, uint64_t rows, uint64_t columns, uint64_t stride) {
    return encoded([&] { return codec::encode_pattern(view(positions), {rows, columns, stride}); });
  });
  m.def("pattern_decode",
        [](Vector<const uint8_t> data, uint64_t rows, uint64_t columns, uint64_t stride, Vector<int64_t> out) {
          nb::gil_scoped_release release;
          codec::decode_pattern(view(data), {rows, columns, stride}, view(out));
        });
  m.def("values_encode", [](Vector<const uint16_t> symbols, uint32_t alphabet, Positions positions, uint64_t rows,
                            uint64_t columns, uint64_t stride) {
    return encoded([&] { return codec::encode_values(view(symbols), alphabet, view(positions), {rows, columns, stride}); });
  });
  m.def("values_decode", [](Vector<const uint8_t> data, uint32_t alphabet, Positions positions, uint64_t rows,
                            uint64_t columns, uint64_t stride, Vector<uint16_t> out) {
    nb::gil_scoped_release release;
    codec::decode_values(view(data), alphabet, view(positions), {rows, columns, stride}, view(out));
  });
}

static void bind_codec(nb::module_& m) {
  nb::register_exception_translator([](const std::exception_ptr& raised, void*) {
    try {
      std::rethrow_exception(raised);
    } catch (const codec::CodecError& error) {
      PyErr_SetString(nb::module_::import_("gossamer.errors").attr("FormatError").ptr(), error.what());
    }
  });
  bind_symbols(m, "packed", codec::encode_packed, codec::decode_packed);
  bind_symbols(m, "huffman", codec::encode_huffman, codec::decode_huffman);
  bind_symbols(m, "rans", codec::encode_rans, codec::decode_rans);
  bind_matrix(m);
  m.def("text_encode", [](Vector<const uint8_t> text, Vector<const uint8_t> primer) {
    return encoded([&] { return codec::encode_text(view(text), view(primer)); });
  });
  m.def("text_decode", [](Vector<const uint8_t> data, Vector<const uint8_t> primer, Vector<uint8_t> out) {
    nb::gil_scoped_release release;
    codec::decode_text(view(data), view(primer), view(out));
  });
}

// --- engine: runtime and kernels (native/runtime/, native/kernels/) ----------------------------------------------
namespace engine = gossamer;

[[noreturn]] static void raise(const char* error, const std::string& message) {
  PyErr_SetString(nb::module_::import_("gossamer.errors").attr(error).ptr(), message.c_str());
  throw nb::python_error();
}

static engine::Shape to_shape(nb::handle sizes) {
  engine::Shape shape;
  for (nb::handle size : sizes) shape.push_back(nb::cast<int64_t>(size));
  return shape;
}

static nb::tuple to_tuple(const engine::Shape& shape) {
  nb::list sizes;
  for (const int64_t size : shape) sizes.append(size);
  return nb::tuple(sizes);
}

// A contiguous array's memory while this object lives, through the buffer protocol (which costs less than DLPack).
class Memory {
 public:
  Memory(nb::handle array, bool writable) {
    const int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0);
    if (PyObject_GetBuffer(array.ptr(), &view_, flags) != 0) throw nb::python_error();
  }
  Memory(Memory&& other) noexcept : view_(std::exchange(other.view_, Py_buffer{})) {}
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

static std::shared_ptr<std::byte[]> copy_of(const Memory& memory) {
  auto copy = engine::allocate(memory.bytes());
  std::copy_n(memory.data(), memory.bytes(), copy.get());
  return copy;
}

static engine::Tensor to_tensor(nb::handle array) {
  const std::string dtype = nb::cast<std::string>(nb::str(array.attr("dtype").attr("name")));
  const auto type = engine::dtype_from_name(dtype);
  if (!type) throw engine::Unsupported("an array of " + dtype + "; " + engine::dtype_names() + " are supported");
  return {*type, to_shape(array.attr("shape")), copy_of(Memory(array, false))};
}

// What ModelBuilder.close_subgraph returns, for Python to put among the attributes of a node.
struct SubgraphHandle {
  std::shared_ptr<engine::Subgraph> graph;
};

// An attribute as gossamer.artifact.program has them: a number, a text, a tuple of one kind, an array, a subgraph.
static engine::Attribute to_attribute(nb::handle value) {
  if (nb::isinstance<nb::int_>(value)) return nb::cast<int64_t>(value);
  if (nb::isinstance<nb::float_>(value)) return static_cast<float>(nb::cast<double>(value));
  if (nb::isinstance<nb::str>(value)) return nb::cast<std::string>(value);
  if (nb::isinstance<SubgraphHandle>(value)) return nb::cast<SubgraphHandle&>(value).graph;
  if (!nb::isinstance<nb::tuple>(value)) return to_tensor(value);
  const nb::tuple items = nb::borrow<nb::tuple>(value);
  if (items.size() == 0 || nb::isinstance<nb::int_>(items[0])) return nb::cast<std::vector<int64_t>>(items);
  if (nb::isinstance<nb::str>(items[0])) return nb::cast<std::vector<std::string>>(items);
  return nb::cast<std::vector<float>>(items);
}

static std::vector<float> to_floats(nb::handle array) {
  const Memory memory(array, false);
  const auto* values = reinterpret_cast<const float*>(memory.data());
  return {values, values + memory.bytes() / 4};
}

static decltype(engine::Port::shape) to_port_shape(nb::handle sizes) {
  if (sizes.is_none()) return std::nullopt;
  decltype(engine::Port::shape)::value_type shape;
  for (nb::handle size : sizes) {
    if (size.is_none()) shape.emplace_back();
    else if (nb::isinstance<nb::str>(size)) shape.emplace_back(nb::cast<std::string>(size));
    else shape.emplace_back(nb::cast<int64_t>(size));
  }
  return shape;
}

static void bind_builder(nb::module_& m) {
  using engine::ModelBuilder;
  nb::class_<SubgraphHandle>(m, "Subgraph");
  nb::class_<ModelBuilder>(m, "ModelBuilder")
      .def(nb::init<>())
      .def("set_opset", &ModelBuilder::set_opset)
      .def("add_input", [](ModelBuilder& b, const std::string& name, const std::string& dtype, nb::object shape) {
        b.add_input(name, dtype, to_port_shape(shape));
      }, nb::arg("name"), nb::arg("dtype"), nb::arg("shape").none())
      .def("add_dense", [](ModelBuilder& b, const std::string& name, nb::object array, const std::string& note) {
        b.add_dense(name, to_tensor(array), note);
      })
      .def("add_codebook", [](ModelBuilder& b, const std::string& name, nb::object codes, nb::object centroids) {
        const int bytes = nb::cast<int>(codes.attr("dtype").attr("itemsize"));
        b.add_codebook(name, to_shape(codes.attr("shape")), {bytes, copy_of(Memory(codes, false)), to_floats(centroids)});
      })
      .def("add_sparse", [](ModelBuilder& b, const std::string& name, nb::object shape, nb::object positions,
                            nb::object values, nb::object codes) {
        const Memory at(positions, false);
        const auto* first = reinterpret_cast<const int64_t*>(at.data());
        engine::SparseWeight weight{{first, first + at.bytes() / 8}, to_floats(values), 0, nullptr};
        if (!codes.is_none()) {
          const Memory memory(codes, false);
          weight.code_bytes = nb::cast<int>(codes.attr("dtype").attr("itemsize"));
          if (memory.bytes() != static_cast<int64_t>(weight.positions.size()) * weight.code_bytes) {
            throw engine::ModelError("weight '" + name + "': not one index per position");
          }
          weight.codes = copy_of(memory);
        }
        b.add_sparse(name, to_shape(shape), std::move(weight));
      }, nb::arg("name"), nb::arg("shape"), nb::arg("positions"), nb::arg("values"), nb::arg("codes").none())
      .def("add_node", [](ModelBuilder& b, const std::string& op, const std::string& name,
                          const std::vector<std::string>& inputs, const std::vector<std::string>& outputs,
                          nb::dict attributes) {
        std::map<std::string, engine::Attribute, std::less<>> converted;
        for (const auto& [key, value] : attributes) converted.emplace(nb::cast<std::string>(key), to_attribute(value));
        b.add_node(op, name, inputs, outputs, std::move(converted));
      })
      .def("open_subgraph", &ModelBuilder::open_subgraph)
      .def("close_subgraph", [](ModelBuilder& b, const std::vector<std::string>& outputs) {
        return SubgraphHandle{b.close_subgraph(outputs)};
      })
      .def("add_output", &ModelBuilder::add_output);
}

// gossamer.Engine's native half: an engine and NumPy's `empty`, which makes the outputs.
class NativeEngine {
 public:
  NativeEngine(engine::ModelBuilder& builder, int threads, const std::string& isa, bool autotune)
      : engine_(builder.take(), threads, *engine::isa_from_name(isa),
                autotune ? std::make_unique<engine::Tuner>(engine::default_tuner_file()) : nullptr),
        empty_(nb::module_::import_("numpy").attr("empty")) {
    for (const int value : engine_.model().outputs) {
      types_.push_back(nb::str(engine::dtype_name(engine_.model().values[static_cast<size_t>(value)].dtype)));
    }
  }

  // `repeats`: how often to run on the same inputs; more than once only to measure.
  nb::list run(nb::list arrays, int64_t repeats) {
    const Call call = prepare(arrays);
    repeat(call, repeats, {});
    return call.results;
  }

  // Nanoseconds of each of the plan's steps (columns) in each of `runs` runs (rows), an array of int64.
  nb::object profile(nb::list arrays, int64_t runs) {
    const Call call = prepare(arrays);
    nb::object times = empty_(nb::make_tuple(runs, call.plan->steps.size()), "int64");
    const Memory memory(times, true);
    repeat(call, runs, {reinterpret_cast<int64_t*>(memory.data()), static_cast<size_t>(memory.bytes() / 8)});
    return times;
  }

  nb::list explain(nb::list arrays) {
    nb::list rows;
    for (const engine::Explanation& row : plan_for(memories(arrays, false))->explanations) {
      nb::list inputs;
      for (const engine::Shape& shape : row.inputs) inputs.append(to_tuple(shape));
      rows.append(nb::make_tuple(row.op, row.name, nb::tuple(inputs), to_tuple(row.output), row.kernel, row.note,
                                 row.weight_bytes, row.activation_bytes, row.macs));
    }
    return rows;
  }

  // Bytes of working memory of one run, and how many such blocks exist, for inputs of these shapes.
  nb::tuple memory(nb::list arrays) {
    const auto plan = plan_for(memories(arrays, false));
    return nb::make_tuple(plan->arena_bytes, plan->contexts());
  }

  int threads() { return engine_.pool().threads(); }
  int64_t plans_made() const { return engine_.plans_made(); }

 private:
  // One call's plan, and the memory that it reads and writes.
  struct Call {
    std::vector<Memory> inputs, outputs;
    std::shared_ptr<const engine::Plan> plan;
    nb::list results;
    std::vector<const std::byte*> from;
    std::vector<std::byte*> to;
  };

  Call prepare(nb::list arrays) {
    Call call{memories(arrays, false), {}, nullptr, {}, {}, {}};
    check_types(call.inputs);
    call.plan = plan_for(call.inputs);
    for (size_t i = 0; i < types_.size(); ++i) call.results.append(empty_(to_tuple(call.plan->outputs[i].shape), types_[i]));
    call.outputs = memories(call.results, true);
    for (const Memory& memory : call.inputs) call.from.push_back(memory.data());
    for (const Memory& memory : call.outputs) call.to.push_back(memory.data());
    return call;
  }

  // `nanoseconds`: empty, or a place for each step of each run.
  void repeat(const Call& call, int64_t runs, std::span<int64_t> nanoseconds) {
    const size_t steps = nanoseconds.empty() ? 0 : call.plan->steps.size();
    try {
      nb::gil_scoped_release release;
      for (int64_t i = 0; i < runs; ++i) {
        call.plan->run(call.from, call.to, engine_.pool(), nanoseconds.subspan(static_cast<size_t>(i) * steps, steps));
      }
    } catch (const engine::ShapeError& error) {
      raise("InputError", error.what());
    }
  }

  static std::vector<Memory> memories(nb::list arrays, bool writable) {
    std::vector<Memory> result;
    result.reserve(arrays.size());
    for (nb::handle array : arrays) result.emplace_back(array, writable);
    return result;
  }

  void check_types(const std::vector<Memory>& inputs) const {
    for (size_t i = 0; i < inputs.size(); ++i) {
      const engine::Port& port = engine_.model().inputs[i];
      if (inputs[i].holds(port.dtype)) continue;
      raise("InputError", "input '" + engine_.model().values[static_cast<size_t>(port.value)].name + "' must be of dtype " +
                              engine::dtype_name(port.dtype) + ": convert it with .astype('" + engine::dtype_name(port.dtype) + "')");
    }
  }

  std::shared_ptr<const engine::Plan> plan_for(const std::vector<Memory>& inputs) {
    std::vector<engine::Engine::Given> given;
    for (const Memory& memory : inputs) given.push_back({memory.sizes(), memory.data()});
    try {
      nb::gil_scoped_release release;
      return engine_.plan(given);
    } catch (const engine::ShapeError& error) {
      raise("InputError", error.what());
    }
  }

  engine::Engine engine_;
  nb::object empty_;
  std::vector<nb::object> types_;
};

// Any row of a kernel table on plain arrays, for the tests and benchmarks: sizes and parameters by name, as the members
// of the table's Args are called.
class Fields {
 public:
  explicit Fields(nb::kwargs values) : values_(std::move(values)) {}
  template <class T>
  T number(const char* name, T otherwise) const {
    return values_.contains(name) ? nb::cast<T>(values_[name]) : otherwise;
  }
  template <class T>
  T* array(const char* name) {
    if (!values_.contains(name) || values_[name].is_none()) return nullptr;
    memory_.emplace_back(values_[name], !std::is_const_v<T>);
    return reinterpret_cast<T*>(memory_.back().data());
  }
  float low() const { return number("low", -std::numeric_limits<float>::infinity()); }
  float high() const { return number("high", std::numeric_limits<float>::infinity()); }

 private:
  nb::kwargs values_;
  std::vector<Memory> memory_;
};

static engine::GemmArgs gemm_fields(Fields& f) {
  const auto size = [&](const char* name) { return f.number<int64_t>(name, 0); };
  engine::GemmArgs g{size("m"), size("n"), size("k"), f.array<const float>("a"), size("a_row"), size("a_k")};
  g.b = f.array<const float>("b");
  g.c = f.array<float>("c");
  g.c_stride = size("n");
  g.row_bias = f.array<const float>("row_bias");
  g.column_bias = f.array<const float>("column_bias");
  g.residual = f.array<const float>("residual");
  g.low = f.low();
  g.high = f.high();
  return g;
}

static engine::ConvShape conv_shape_fields(Fields& f) {
  const auto size = [&](const char* name) { return f.number<int64_t>(name, 1); };
  return {size("batch"), size("groups"), size("in_channels"), size("in_h"), size("in_w"), size("out_channels"),
          size("out_h"), size("out_w"), size("kernel_h"), size("kernel_w"), size("stride_h"), size("stride_w"),
          size("dilation_h"), size("dilation_w"), size("pad_top"), size("pad_left")};
}

static engine::ConvArgs conv_fields(Fields& f) {
  return {conv_shape_fields(f), f.array<const float>("x"), f.array<const float>("weights"), f.array<const float>("bias"),
          f.array<const float>("residual"), f.array<float>("y"), f.low(), f.high()};
}

static engine::CellBytesCheck cell_bytes_fields(Fields& f) {
  const auto real = [&](const char* name, float otherwise) { return f.number<float>(name, otherwise); };
  const engine::CellEpilogue epilogue{f.array<const float>("scale"), f.array<const float>("shift"),
                                      f.number("rounds_mid", false), real("mid_low", 0), real("mid_high", 255),
                                      real("keep", 1), real("residual_scale", 0), real("residual_shift", 0),
                                      f.number("zero", 0), real("low", 0), real("high", 255)};
  return {conv_shape_fields(f), f.array<const uint8_t>("x"), f.number("x_zero", 0), f.array<const int8_t>("weights"),
          f.array<const int32_t>("initial"), epilogue, f.array<const void>("residual"), f.array<void>("y"),
          f.number("float_out", false), f.number("group_rows", 0)};
}

static engine::Col2imArgs col2im_fields(Fields& f) {
  const auto size = [&](const char* name) { return f.number<int64_t>(name, 1); };
  return {size("channels"), size("in_h"), size("in_w"), size("out_h"), size("out_w"), size("kernel_h"), size("kernel_w"),
          size("stride_h"), size("stride_w"), size("dilation_h"), size("dilation_w"), size("pad_top"), size("pad_left"),
          f.array<const float>("columns"), f.array<const float>("bias"), f.array<float>("y"), f.low(), f.high()};
}

static engine::PoolArgs pool_fields(Fields& f) {
  const auto size = [&](const char* name) { return f.number<int64_t>(name, 1); };
  return {f.number("average", false), f.number("count_padding", false), size("planes"), size("in_h"), size("in_w"),
          size("out_h"), size("out_w"), size("kernel_h"), size("kernel_w"), size("stride_h"), size("stride_w"),
          size("dilation_h"), size("dilation_w"), size("pad_top"), size("pad_left"), size("pad_bottom"),
          size("pad_right"), f.array<const float>("x"), f.array<float>("y")};
}

static engine::QgemmEdge qgemm_edge_fields(Fields& f) {
  const auto whole = [&](const char* name, int otherwise) { return f.number<int>(name, otherwise); };
  engine::QgemmEdge e;
  e.output = static_cast<engine::QgemmOutput>(whole("output", 0));
  e.bias = f.array<const int32_t>("bias");
  e.scale = f.array<const float>("scale");
  e.shift = f.array<const float>("shift");
  e.multiplier = f.array<const int32_t>("multiplier");
  e.right_shift = f.array<const int32_t>("right_shift");
  e.residual = f.array<const void>("residual");
  e.residual_signed = f.number("residual_signed", false);
  e.rounds_mid = f.number("rounds_mid", false);
  e.mid_low = f.number("mid_low", 0.0f);
  e.mid_high = f.number("mid_high", 255.0f);
  e.keep = f.number("keep", 1.0f);
  e.residual_scale = f.number("residual_scale", 0.0f);
  e.residual_shift = f.number("residual_shift", 0.0f);
  e.zero = whole("zero", 0);
  e.least = whole("least", 0);
  e.most = whole("most", 255);
  e.low = f.low();
  e.high = f.high();
  return e;
}

static engine::QgemmArgs qgemm_fields(Fields& f) {
  const auto size = [&](const char* name) { return f.number<int64_t>(name, 0); };
  engine::QgemmArgs g{size("m"), size("n"), size("cells"), f.array<const uint8_t>("a"),
                      f.array<const int64_t>("pixel_offset"), f.array<const int64_t>("cell_offset"),
                      f.array<const int8_t>("b"), qgemm_edge_fields(f), f.array<void>("y"), size("y_pixel")};
  g.y_cell = f.number<int64_t>("y_cell", 4);
  return g;
}

static engine::SparseArgs sparse_fields(Fields& f) {
  const auto size = [&](const char* name) { return f.number<int>(name, 0); };
  const engine::SparseMatrix w{size("rows"), size("columns"), f.array<const uint32_t>("starts"),
                               f.array<const void>("indices"), size("index_bytes"), f.array<const float>("values"),
                               f.array<const void>("codes"), size("code_bytes"), size("centroid_count")};
  return {w, size("batch"), f.array<const float>("x"), f.array<const float>("bias"), f.array<const float>("residual"),
          f.array<float>("y"), f.low(), f.high()};
}

static engine::ByteBinaryArgs byte_binary_fields(Fields& f) {
  const auto real = [&](const char* name, float otherwise) { return f.number<float>(name, otherwise); };
  engine::ByteBinaryArgs a{f.number<int64_t>("bytes", 0), f.array<const uint8_t>("a"), f.array<const uint8_t>("b"), f.number("one_cell", false)};
  a.a_scale = real("a_scale", 1);
  a.b_scale = real("b_scale", 1);
  a.shift = real("shift", 0);
  a.a_zero = real("a_zero", 0);
  a.b_zero = real("b_zero", 0);
  a.scale = real("scale", 1);
  a.zero = f.number("zero", 0);
  a.low = f.number("low", 0);
  a.high = f.number("high", 255);
  a.y = f.array<uint8_t>("y");
  return a;
}

static engine::CellPoolArgs cell_pool_fields(Fields& f) {
  const auto size = [&](const char* name) { return f.number<int64_t>(name, 1); };
  engine::CellPoolArgs a{size("in_h"), size("in_w"), size("out_h"), size("out_w"), size("kernel_h"), size("kernel_w"),
                         size("stride_h"), size("stride_w"), size("dilation_h"), size("dilation_w"), size("pad_top"),
                         size("pad_left"), f.array<const uint8_t>("x"), f.array<uint8_t>("y"), f.number("count_padding", false)};
  a.scale = f.number("scale", 1.0f);
  a.shift = f.number("shift", 0.0f);
  a.x_zero = f.number("x_zero", 0);
  a.zero = f.number("zero", 0);
  a.low = f.number("low", 0);
  a.high = f.number("high", 255);
  a.plane_end = size("planes");
  return a;
}

template <class Args>
static void bind_check(nb::module_& m, const char* name, void (*check)(const std::string&, Args), Args (*read)(Fields&)) {
  m.def(name, [check, read](const std::string& row, nb::kwargs values) {
    Fields fields(std::move(values));
    const Args args = read(fields);
    nb::gil_scoped_release release;
    check(row, args);
  });
}

static void bind_cell_maps(nb::module_& m) {
  bind_check<engine::CellQuantizeArgs>(m, "check_cell_quantize", engine::check_cell_quantize, [](Fields& f) {
    return engine::CellQuantizeArgs{f.number<int64_t>("channels", 0), f.number<int64_t>("pixels", 0), f.array<const float>("x"),
                                    f.number("scale", 1.0f), f.number("zero", 0), f.array<uint8_t>("y")};
  });
  bind_check<engine::CellDequantizeArgs>(m, "check_cell_dequantize", engine::check_cell_dequantize, [](Fields& f) {
    return engine::CellDequantizeArgs{f.number<int64_t>("channels", 0), f.number<int64_t>("pixels", 0), f.array<const uint8_t>("x"),
                                      f.number("scale", 1.0f), f.number("zero", 0), f.array<float>("y")};
  });
  bind_check<engine::ByteBinaryArgs>(m, "check_byte_add", engine::check_byte_add, byte_binary_fields);
  bind_check<engine::ByteBinaryArgs>(m, "check_byte_multiply", engine::check_byte_multiply, byte_binary_fields);
  bind_check<engine::ByteLookupArgs>(m, "check_byte_lookup", engine::check_byte_lookup, [](Fields& f) {
    return engine::ByteLookupArgs{f.number<int64_t>("bytes", 0), f.array<const uint8_t>("x"), f.array<const uint8_t>("table"), f.array<uint8_t>("y")};
  });
  bind_check<engine::CellPoolArgs>(m, "check_cell_max_pool", engine::check_cell_max_pool, cell_pool_fields);
  bind_check<engine::CellPoolArgs>(m, "check_cell_average_pool", engine::check_cell_average_pool, cell_pool_fields);
  bind_check<engine::CellMeanArgs>(m, "check_cell_mean", engine::check_cell_mean, [](Fields& f) {
    const bool bytes = f.number("to_bytes", false);
    return engine::CellMeanArgs{f.number<int64_t>("channels", 0), f.number<int64_t>("pixels", 0), f.array<const uint8_t>("x"),
                                f.number("scale", 1.0f), f.number("zero", 0), bytes ? nullptr : f.array<float>("y"),
                                f.number("y_scale", 1.0f), f.number("y_zero", 0), bytes ? f.array<uint8_t>("y") : nullptr};
  });
}

static void bind_row_checks(nb::module_& m) {
  const auto plain = [&m](const char* name, auto check, auto read) {
    m.def(name, [check, read](const std::string& row, nb::kwargs values) {
      Fields fields(std::move(values));
      check(row, read(fields, fields.array<const float>("x"), fields.array<float>("y")));
    });
  };
  plain("check_unary", engine::check_unary, [](Fields& f, const float* x, float* y) {
    return engine::UnaryArgs{static_cast<engine::Unary>(f.number("op", 0)), f.number<int64_t>("n", 0), x, y,
                             f.number("a", 0.0f), f.number("b", 0.0f)};
  });
  plain("check_round", engine::check_round, [](Fields& f, const float* x, float* y) {
    return engine::RoundArgs{f.number<int64_t>("n", 0), x, y, f.number("scale", 1.0f), f.number("zero", 0.0f),
                             f.number("low", 0.0f), f.number("high", 255.0f)};
  });
  plain("check_binary", engine::check_binary, [](Fields& f, const float* x, float* y) {
    return engine::BinaryArgs{static_cast<engine::Binary>(f.number("op", 0)), f.number<int64_t>("n", 0), x,
                              f.array<const float>("b"), y, f.number("a_step", 1), f.number("b_step", 1), f.low(), f.high()};
  });
  plain("check_affine", engine::check_affine, [](Fields& f, const float* x, float* y) {
    const auto size = [&](const char* name) { return f.number<int64_t>(name, 0); };
    return engine::AffineArgs{size("planes"), size("channels"), size("inner"), x, f.array<const float>("scale"),
                              f.array<const float>("shift"), y, f.low(), f.high()};
  });
  plain("check_transpose", engine::check_transpose, [](Fields& f, const float* x, float* y) {
    const auto size = [&](const char* name) { return f.number<int64_t>(name, 0); };
    return engine::TransposeArgs{size("rows"), size("columns"), x, size("x_stride"), y, size("y_stride"), size("begin"), size("end")};
  });
  plain("check_softmax", engine::check_softmax, [](Fields& f, const float* x, float* y) {
    const auto size = [&](const char* name) { return f.number<int64_t>(name, 1); };
    return engine::SoftmaxArgs{size("outer"), size("n"), size("inner"), f.number("logarithm", false), x, y};
  });
  plain("check_reduce", engine::check_reduce, [](Fields& f, const float* x, float* y) {
    const auto size = [&](const char* name) { return f.number<int64_t>(name, 1); };
    return engine::ReduceArgs{static_cast<engine::Reduction>(f.number("op", 0)), size("outer"), size("n"), size("inner"), x, y};
  });
  plain("check_layer_norm", engine::check_layer_norm, [](Fields& f, const float* x, float* y) {
    return engine::LayerNormArgs{f.number<int64_t>("outer", 0), f.number<int64_t>("n", 0), f.number("epsilon", 1e-5f), x,
                                 f.array<const float>("scale"), f.array<const float>("shift"), y};
  });
}

static void bind_kernels(nb::module_& m) {
  m.def("machine_isas", [] {
    std::vector<std::string> names;
    for (const engine::Isa isa : engine::machine_isas()) names.emplace_back(engine::isa_name(isa));
    return names;
  });
  m.def("kernel_rows", [] {
    std::vector<std::pair<std::string, std::string>> rows;
    for (const engine::RowName& row : engine::kernel_rows()) rows.emplace_back(row.name, engine::isa_name(row.isa));
    return rows;
  });
  bind_check<engine::GemmArgs>(m, "check_gemm", engine::check_gemm, gemm_fields);
  bind_check<engine::ConvArgs>(m, "check_conv", engine::check_conv, conv_fields);
  bind_check<engine::Col2imArgs>(m, "check_col2im", engine::check_col2im, col2im_fields);
  bind_check<engine::PoolArgs>(m, "check_pool", engine::check_pool, pool_fields);
  const auto peak_fields = [](Fields& f) {
    return engine::PeakArgs{f.number<int64_t>("rounds", 0), f.number("x", 1), f.number("y", 1), f.array<int64_t>("macs"),
                            f.array<double>("total")};
  };
  bind_check<engine::PeakArgs>(m, "check_peak_floats", engine::check_peak_floats, peak_fields);
  bind_check<engine::PeakArgs>(m, "check_peak_bytes", engine::check_peak_bytes, peak_fields);
  bind_check<engine::QgemmArgs>(m, "check_qgemm", engine::check_qgemm, qgemm_fields);
  bind_check<engine::SparseArgs>(m, "check_sparse", engine::check_sparse, sparse_fields);
  bind_check<engine::CodebookArgs>(m, "check_codebook", engine::check_codebook, [](Fields& f) {
    return engine::CodebookArgs{gemm_fields(f), f.array<const void>("codes"), f.number("code_bytes", 1),
                                f.array<const float>("centroids"), f.number("centroid_count", 0)};
  });
  bind_check<engine::ConvArgs>(m, "check_cell_floats", engine::check_cell_floats, conv_fields);
  bind_check<engine::CellBytesCheck>(m, "check_cell_bytes", engine::check_cell_bytes, cell_bytes_fields);
  bind_check<engine::CellBytesCheck>(m, "check_depthwise_cells", engine::check_depthwise_cells, cell_bytes_fields);
  bind_cell_maps(m);
  bind_row_checks(m);
}

static void bind_engine(nb::module_& m) {
  nb::register_exception_translator([](const std::exception_ptr& raised, void*) {
    const auto set = [](const char* error, const std::exception& e) {
      PyErr_SetString(nb::module_::import_("gossamer.errors").attr(error).ptr(), e.what());
    };
    try {
      std::rethrow_exception(raised);
    } catch (const engine::Unsupported& error) {
      set("UnsupportedError", error);
    } catch (const engine::ModelError& error) {
      set("FormatError", error);
    } catch (const engine::ShapeError& error) {
      set("FormatError", error);
    }
  });
  bind_builder(m);
  bind_kernels(m);
  m.def("operators", engine::operator_names);
  nb::class_<NativeEngine>(m, "NativeEngine")
      .def(nb::init<engine::ModelBuilder&, int, const std::string&, bool>(), nb::arg("builder"), nb::arg("threads"),
           nb::arg("isa"), nb::arg("autotune") = false)
      .def("run", &NativeEngine::run, nb::arg("inputs"), nb::arg("repeats") = 1)
      .def("profile", &NativeEngine::profile, nb::arg("inputs"), nb::arg("runs"))
      .def("explain", &NativeEngine::explain, nb::arg("inputs"))
      .def("memory", &NativeEngine::memory, nb::arg("inputs"))
      .def_prop_ro("threads", &NativeEngine::threads)
      .def_prop_ro("plans_made", &NativeEngine::plans_made);
}

NB_MODULE(_native, m) {
  m.doc() = "gossamer's native codec and engine; use gossamer.Engine and gossamer.artifact, not this module.";
  bind_codec(m);
  bind_engine(m);
}
