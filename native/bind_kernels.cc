// The kernel tables of native/kernels/ for tests and benchmarks.
#include <nanobind/stl/pair.h>

#include <limits>

#include "bind.h"
#include "kernels/check.h"

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

static engine::XnorCheck xnor_fields(Fields& f) {
  const auto size = [&](const char* name) { return f.number<int64_t>(name, 0); };
  engine::XnorArgs g{size("m"), size("n"), size("words"), nullptr, f.array<const int32_t>("b"), f.array<const int32_t>("mask"),
                     f.array<const int32_t>("bits")};
  g.row_scale = f.array<const float>("row_scale");
  g.column_scale = f.array<const float>("column_scale");
  g.row_bias = f.array<const float>("row_bias");
  g.column_bias = f.array<const float>("column_bias");
  g.residual = f.array<const float>("residual");
  g.c = f.array<float>("c");
  g.c_stride = g.n;
  g.low = f.low();
  g.high = f.high();
  return {g, f.array<const float>("x"), size("k"), f.number<float>("limit", 0)};
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
                                      f.number("zero", 0), real("low", 0), real("high", 255),
                                      f.array<const int32_t>("multiplier"), f.array<const int32_t>("right_shift")};
  return {conv_shape_fields(f), f.array<const uint8_t>("x"), f.number("x_zero", 0), f.array<const int8_t>("weights"),
          f.array<const int32_t>("initial"), epilogue, f.array<const void>("residual"), f.array<void>("y"),
          f.number("float_out", false), f.number("group_rows", 0), f.number("sums_out", false)};
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

static engine::RowSums row_sums(Fields& f) {
  return {f.number<int64_t>("rows", 0), f.number<int64_t>("n", 0), f.array<const int32_t>("sums"), f.array<const int32_t>("start"),
          f.number("product", 1.0f), f.number("scale", 1.0f), f.number("rounds", false), f.low(), f.high()};
}

static void bind_cell_maps(nb::module_& m) {
  bind_check<engine::HalfToFloatArgs>(m, "check_half_to_float", engine::check_half_to_float, [](Fields& f) {
    return engine::HalfToFloatArgs{f.number<int64_t>("n", 0), f.array<const uint16_t>("x"), f.array<float>("y")};
  });
  bind_check<engine::FloatToHalfArgs>(m, "check_float_to_half", engine::check_float_to_half, [](Fields& f) {
    return engine::FloatToHalfArgs{f.number<int64_t>("n", 0), f.array<const float>("x"), f.array<uint16_t>("y")};
  });
  bind_check<engine::CellQuantizeArgs>(m, "check_cell_quantize", engine::check_cell_quantize, [](Fields& f) {
    return engine::CellQuantizeArgs{f.number<int64_t>("channels", 0), f.number<int64_t>("pixels", 0), f.array<const float>("x"),
                                    f.number("scale", 1.0f), f.number("zero", 0), f.array<uint8_t>("y")};
  });
  bind_check<engine::CellDequantizeArgs>(m, "check_cell_dequantize", engine::check_cell_dequantize, [](Fields& f) {
    return engine::CellDequantizeArgs{f.number<int64_t>("channels", 0), f.number<int64_t>("pixels", 0), f.array<const uint8_t>("x"),
                                      f.number("scale", 1.0f), f.number("zero", 0), f.array<float>("y")};
  });
  bind_check<engine::ByteSoftmaxArgs>(m, "check_byte_softmax", engine::check_byte_softmax, [](Fields& f) {
    return engine::ByteSoftmaxArgs{row_sums(f), f.array<const float>("mask"), f.number<int64_t>("mask_row", 0), f.number<int64_t>("mask_column", 0),
                                   f.array<float>("scratch"), f.number("y_scale", 1.0f), f.number("y_zero", 0), f.array<uint8_t>("y"),
                                   f.number<int64_t>("y_stride", 0)};
  });
  bind_check<engine::ByteSumsArgs>(m, "check_byte_sums", engine::check_byte_sums, [](Fields& f) {
    return engine::ByteSumsArgs{f.number<int64_t>("rows", 0), f.number<int64_t>("n", 0), f.number<int64_t>("stride", 0), f.array<const uint8_t>("x"),
                                f.number("is_signed", false), f.number("factor", 1), f.number("start", 0), f.array<int32_t>("y")};
  });
  bind_check<engine::SumRowsArgs>(m, "check_sum_rows", engine::check_sum_rows, [](Fields& f) {
    return engine::SumRowsArgs{row_sums(f), f.array<float>("y"), f.number<int64_t>("y_stride", 0)};
  });
  bind_check<engine::ByteQuantizeArgs>(m, "check_byte_quantize", engine::check_byte_quantize, [](Fields& f) {
    return engine::ByteQuantizeArgs{f.number<int64_t>("n", 0), f.array<const float>("x"), f.number("scale", 1.0f), f.number("zero", 0),
                                    f.number("is_signed", false), f.array<uint8_t>("y")};
  });
  bind_check<engine::ByteDequantizeArgs>(m, "check_byte_dequantize", engine::check_byte_dequantize, [](Fields& f) {
    return engine::ByteDequantizeArgs{f.number<int64_t>("rows", 1), f.number<int64_t>("n", 0), f.array<const uint8_t>("x"),
                                      f.number("scale", 1.0f), f.number("zero", 0), f.number("is_signed", false), f.array<float>("y"),
                                      f.array<const float>("bias"), f.array<const float>("residual"), f.low(), f.high()};
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

static engine::IntegerType integer_type(Fields& f, const char* name) {
  const int type = f.number(name, 0);
  if (type < 0 || type > static_cast<int>(engine::kLastIntegerType)) throw std::invalid_argument(std::string(name) + ": no such type");
  return static_cast<engine::IntegerType>(type);
}

static engine::RequantizeArgs requantize_fields(Fields& f) {
  return {f.number<int64_t>("n", 0), f.number<int64_t>("channels", 1), f.number("by_column", false), integer_type(f, "from_type"),
          integer_type(f, "to_type"), f.array<const void>("x"), f.number("x_zero", 0), f.array<const int32_t>("multiplier"),
          f.array<const int32_t>("right_shift"), f.number("zero", 0), f.number("low", INT32_MIN), f.number("high", INT32_MAX),
          f.array<void>("y"), 0, f.number<int64_t>("lines", 0)};
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
                                 f.array<const float>("scale"), f.array<const float>("shift"), y,
                                 f.number<int64_t>("area", 1), f.number("centered", true)};
  });
}

void bind_kernels(nb::module_& m) {
  m.def("machine_isas", [] {
    std::vector<std::string> names;
    for (const engine::Isa isa : engine::machine_isas()) names.emplace_back(engine::isa_name(isa));
    return names;
  });
  m.def("processor_name", engine::processor_name);
  m.def("kernel_rows", [] {
    std::vector<std::pair<std::string, std::string>> rows;
    for (const engine::RowName& row : engine::kernel_rows()) rows.emplace_back(row.name, engine::isa_name(row.isa));
    return rows;
  });
  bind_check<engine::GemmArgs>(m, "check_gemm", engine::check_gemm, gemm_fields);
  bind_check<engine::GemmArgs>(m, "check_bf16", engine::check_bf16, gemm_fields);
  bind_check<engine::XnorCheck>(m, "check_xnor", engine::check_xnor, xnor_fields);
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
  m.def("check_requantize", [](const std::string& row, nb::kwargs values) {
    Fields fields(std::move(values));
    engine::check_requantize(row, requantize_fields(fields));
  });
  bind_check<engine::SparseArgs>(m, "check_sparse", engine::check_sparse, sparse_fields);
  bind_check<engine::CodesCheck>(m, "check_codes", engine::check_codes, [](Fields& f) {
    return engine::CodesCheck{f.number<int64_t>("k", 0), f.number<int64_t>("n", 0), f.number("bits", 8), f.array<const uint16_t>("codes"),
                              f.array<const float>("table"), f.number("table_size", 0), f.number<int64_t>("block", 1),
                              f.array<const float>("scales"), f.array<const uint8_t>("zeros"), f.number<int64_t>("first", 0),
                              f.array<float>("y")};
  });
  bind_check<engine::ConvArgs>(m, "check_cell_floats", engine::check_cell_floats, conv_fields);
  bind_check<engine::CellBytesCheck>(m, "check_cell_bytes", engine::check_cell_bytes, cell_bytes_fields);
  bind_check<engine::CellBytesCheck>(m, "check_depthwise_cells", engine::check_depthwise_cells, cell_bytes_fields);
  bind_cell_maps(m);
  bind_row_checks(m);
}
