// The entropy coders of native/codec/ for Python.
#include <nanobind/ndarray.h>

#include "bind.h"
#include "codec/pattern.h"
#include "codec/symbols.h"
#include "codec/text.h"
#include "codec/values.h"

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

void bind_codec(nb::module_& m) {
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
