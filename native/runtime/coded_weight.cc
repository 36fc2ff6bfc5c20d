#include "runtime/coded_weight.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "runtime/scales.h"

namespace gossamer {
namespace {

constexpr int64_t kLeastElements = 256;  // below, codes save nothing of note
constexpr int64_t kLeastBlock = 8;  // rows that share a scale; below, the scales are as large as the decoded weight

std::vector<int> integers(const Tensor& t) {
  std::vector<int> all(static_cast<size_t>(element_count(t.shape)));
  for (size_t i = 0; i < all.size(); ++i) all[i] = t.dtype == DType::int8 ? int{t.as<int8_t>()[i]} : int{t.as<uint8_t>()[i]};
  return all;
}

const Tensor* dense_constant(const Model& model, const Node& node, size_t i) {
  const Constant* constant = node.has_input(i) ? model.constant(node.inputs[i]) : nullptr;
  return constant && constant->dense.data ? &constant->dense : nullptr;
}

bool is_byte(DType dtype) { return dtype == DType::int8 || dtype == DType::uint8; }

// How many of the first rows of column 0 share a scale: no column has fewer, wherever the scales lie.
int64_t rows_of_a_scale(const ScaleLayout& layout, const CodedView& v) {
  int64_t rows = 1;
  while (rows < v.k && layout.number(rows * v.k_stride) == layout.number(0)) ++rows;
  return rows;
}

float scale_at(const CodedWeight& w, int64_t element) {
  return w.scales.empty() ? 1.0f : w.scales[static_cast<size_t>(w.layout.number(element))];
}

uint8_t zero_at(const CodedWeight& w, int64_t element) {
  return w.zeros.empty() ? uint8_t{0} : w.zeros[w.zeros.size() == 1 ? 0 : static_cast<size_t>(w.layout.number(element))];
}

void fill_scales(const CodedWeight& w, const CodedView& v, PackedCodes& packed) {
  const int64_t width = packed.panels.width, blocks = (v.k + packed.panels.block - 1) / packed.panels.block;
  const int64_t panels = (v.n + width - 1) / width;
  packed.scales.assign(static_cast<size_t>(v.groups * panels * blocks * width), 0.0f);
  packed.zeros.assign(w.centroids.empty() ? packed.scales.size() : 0, 0);
  for (int64_t i = 0; i < static_cast<int64_t>(packed.scales.size()); ++i) {
    const int64_t panel = i / width / blocks, column = panel % panels * width + i % width;
    if (column >= v.n) continue;
    const int64_t row = i / width % blocks * packed.panels.block;
    const int64_t element = row * v.k_stride + (panel / panels * v.n + column) * v.n_stride;
    packed.scales[static_cast<size_t>(i)] = scale_at(w, element) * v.alpha;
    if (!packed.zeros.empty()) packed.zeros[static_cast<size_t>(i)] = zero_at(w, element);
  }
}

std::shared_ptr<PackedCodes> pack(const CodedWeight& w, const CodedView& v, const CodesKernel& kernel, int64_t block) {
  auto packed = std::make_shared<PackedCodes>();
  const int64_t words = code_words(v.k, v.n, w.codes.bits, kernel.width);
  packed->kernel = kernel.name;
  packed->words = allocate(v.groups * words * 4);
  auto* to = reinterpret_cast<uint32_t*>(packed->words.get());
  for (int64_t group = 0; group < v.groups; ++group) {
    const int64_t first = group * v.n * v.n_stride;
    pack_codes(v.k, v.n, w.codes.bits, kernel.width,
               [&](int64_t p, int64_t j) { return w.codes.at(first + p * v.k_stride + j * v.n_stride); }, to + group * words);
  }
  packed->table = w.centroids;
  packed->panels = {v.k, w.codes.bits, kernel.width, to, w.centroids.empty() ? nullptr : packed->table.data(),
                    static_cast<int>(packed->table.size()), block, nullptr, nullptr, kernel.run};
  fill_scales(w, v, *packed);
  packed->panels.scales = packed->scales.data();
  packed->panels.zeros = packed->zeros.data();
  return packed;
}

float sparse_value(const SparseWeight& w, size_t i) {
  if (w.code_bytes == 0) return w.values[i];
  const std::byte* codes = w.codes.get();
  return w.values[w.code_bytes == 1 ? reinterpret_cast<const uint8_t*>(codes)[i] : reinterpret_cast<const uint16_t*>(codes)[i]];
}

// Elements in a row whose scales lie `step` apart, the first of them number `number`.
struct Stretch {
  int64_t length, number, step;
};

Stretch stretch_at(const CodedWeight& w, int64_t element) {
  const ScaleLayout& l = w.layout;
  if (w.scales.size() <= 1 && w.zeros.size() <= 1) return {std::numeric_limits<int64_t>::max(), 0, 0};
  const int64_t row = element / l.inner % l.n, column = element % l.inner;
  if (l.scale_inner != 0) return {l.inner - column, l.number(element), l.scale_inner};
  const int64_t end = std::min(l.n, (row / l.block + 1) * l.block);
  return {(end - row) * l.inner - column, l.number(element), 0};
}

// Centroids, or codes as numbers.
void decode_codes(const CodedWeight& w, int64_t first, int64_t count, float* out) {
  if (w.centroids.empty() && w.codes.bits == 8) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(w.codes.words.get()) + first;
    for (int64_t i = 0; i < count; ++i) out[i] = bytes[i];
    return;
  }
  const auto* words = reinterpret_cast<const uint32_t*>(w.codes.words.get());
  const int64_t per_word = 32 / w.codes.bits, mask = (int64_t{1} << w.codes.bits) - 1;
  for (int64_t i = 0; i < count;) {
    const int64_t start = (first + i) % per_word, end = std::min(count, i + per_word - start);
    for (uint32_t word = words[(first + i) / per_word] >> start * w.codes.bits; i < end; ++i, word >>= w.codes.bits) {
      const int64_t code = word & mask;
      out[i] = w.centroids.empty() ? static_cast<float>(code) : w.centroids[static_cast<size_t>(code)];
    }
  }
}

void scale_by(const CodedWeight& w, const Stretch& stretch, int64_t count, float* out) {
  if (w.centroids.empty() && !w.zeros.empty()) {
    const uint8_t* zeros = w.zeros.data() + (w.zeros.size() == 1 ? 0 : stretch.number);
    const int64_t step = w.zeros.size() == 1 ? 0 : stretch.step;
    for (int64_t i = 0; i < count; ++i) out[i] -= zeros[i * step];
  }
  if (w.scales.empty()) return;
  const float* scales = w.scales.data() + stretch.number;
  for (int64_t i = 0; i < count; ++i) out[i] *= scales[i * stretch.step];
}

void decode_sparse(const SparseWeight& w, int64_t first, int64_t count, float* out) {
  std::fill_n(out, count, 0.0f);
  const auto begin = std::lower_bound(w.positions.begin(), w.positions.end(), first);
  for (auto at = begin; at != w.positions.end() && *at < first + count; ++at) {
    out[*at - first] = sparse_value(w, static_cast<size_t>(at - w.positions.begin()));
  }
}

}  // namespace

std::optional<CodedWeight> coded_weight(const Model& model, const Node& node) {
  const Tensor *ints = dense_constant(model, node, 0), *scale = dense_constant(model, node, 1);
  const Tensor* zero = dense_constant(model, node, 2);
  if (!ints || !scale || (node.has_input(2) && !zero) || !is_byte(ints->dtype) || scale->dtype != DType::float32) return std::nullopt;
  if (node.find("output_dtype") && dtype_from_onnx(node.integer("output_dtype", 1)).value_or(DType::float32) != DType::float32) return std::nullopt;
  const int64_t count = element_count(ints->shape);
  if (ints->shape.size() < 2 || count < kLeastElements) return std::nullopt;
  const ScaleLayout layout = scale_layout(node, ints->shape, scale->shape);
  const std::vector<int> values = integers(*ints), zeros = zero ? integers(*zero) : std::vector<int>{0};
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  const auto [least_zero, most_zero] = std::minmax_element(zeros.begin(), zeros.end());
  const int low = std::min(*least, *least_zero), span = std::max(*most, *most_zero) - low;
  if (span > 255) return std::nullopt;  // a zero point of the other sign than the type's
  const int bits = std::max(1, static_cast<int>(std::bit_width(static_cast<unsigned>(span))));
  CodedWeight w{make_codes(count, bits, [&](int64_t i) { return static_cast<uint8_t>(values[static_cast<size_t>(i)] - low); }),
                {}, {scale->as<float>(), scale->as<float>() + element_count(scale->shape)}, {}, layout};
  for (const int z : zeros) w.zeros.push_back(static_cast<uint8_t>(z - low));
  return w;
}

std::optional<CodedWeight> scaled_rows(const CodedWeight& w, const Shape& shape, const std::vector<float>& factors) {
  const auto rows = static_cast<int64_t>(factors.size()), depth = element_count(shape) / std::max<int64_t>(rows, 1);
  CodedWeight scaled = w;
  if (w.scales.size() <= 1) {
    scaled.scales = factors;
    for (float& factor : scaled.scales) factor *= w.scales.empty() ? 1.0f : w.scales[0];
    scaled.layout = {1, rows, depth, 1, 0, 1, 0};
    return scaled;
  }
  const bool by_row = w.layout.outer == 1 && w.layout.n == rows && w.layout.block == 1 && w.layout.scale_inner == 0;
  if (!by_row) return std::nullopt;
  for (size_t o = 0; o < factors.size(); ++o) scaled.scales[o] *= factors[o];
  return scaled;
}

CodedWeight transposed(const CodedWeight& w, const Shape& shape) {
  const int64_t rows = shape[0], columns = shape[1];
  CodedWeight t = w;
  t.codes = make_codes(rows * columns, w.codes.bits, [&](int64_t i) { return w.codes.at(i % rows * columns + i / rows); });
  const ScaleLayout& from = w.layout;
  if (w.scales.size() <= 1) return t;
  if (from.outer == 1 && from.n == rows) t.layout = {columns, rows, 1, from.block, from.scale_inner, from.scale_step, 0};
  else t.layout = {1, columns, rows, from.block, 0, from.scale_step, from.scale_outer};
  return t;
}

int64_t compressed_bytes(const Constant& constant) {
  const int64_t count = element_count(constant.dense.shape);
  if (const auto* w = std::get_if<CodedWeight>(&constant.compressed)) {
    const int64_t per_word = 32 / w->codes.bits;
    return (count + per_word - 1) / per_word * 4 + 4 * static_cast<int64_t>(w->centroids.size() + w->scales.size()) +
           static_cast<int64_t>(w->zeros.size());
  }
  const auto* sparse = std::get_if<SparseWeight>(&constant.compressed);
  if (!sparse) return count * dtype_size(constant.dense.dtype);
  return static_cast<int64_t>(sparse->positions.size()) * (8 + sparse->code_bytes) + 4 * static_cast<int64_t>(sparse->values.size());
}

void decode_range(const Constant& constant, int64_t first, int64_t count, float* out) {
  if (const auto* w = std::get_if<CodedWeight>(&constant.compressed)) {
    for (int64_t done = 0; done < count;) {
      const Stretch stretch = stretch_at(*w, first + done);
      const int64_t length = std::min(stretch.length, count - done);
      decode_codes(*w, first + done, length, out + done);
      scale_by(*w, stretch, length, out + done);
      done += length;
    }
  } else if (const auto* sparse = std::get_if<SparseWeight>(&constant.compressed)) {
    decode_sparse(*sparse, first, count, out);
  }
}

void decode(Constant& constant) {
  if (constant.dense.data) return;
  Tensor dense = make_tensor(DType::float32, constant.dense.shape);
  decode_range(constant, 0, element_count(dense.shape), dense.as<float>());
  constant.dense = std::move(dense);
}

const CodedWeight* coded_input(const Build& b, size_t i) {
  const Constant* constant = b.constant(i);
  return constant && !constant->dense.data ? std::get_if<CodedWeight>(&constant->compressed) : nullptr;
}

int64_t PackedCodes::bytes() const {
  const int64_t groups = panels.block ? static_cast<int64_t>(scales.size()) / (panels.width * ((panels.k + panels.block - 1) / panels.block)) : 0;
  return groups * code_words(panels.k, panels.width, panels.bits, panels.width) * 4 + 4 * static_cast<int64_t>(table.size() + scales.size()) +
         static_cast<int64_t>(zeros.size());
}

std::shared_ptr<const PackedCodes> pack_coded(Build& b, const CodedWeight& w, const CodedView& view) {
  const int64_t block = w.scales.size() <= 1 ? std::max<int64_t>(view.k, 1) : rows_of_a_scale(w.layout, view);
  if (block < std::min(kLeastBlock, view.k)) return nullptr;
  const CodesKernel& kernel = fastest(kCodesKernels, b.isa);
  const std::string key = "codes:" + std::to_string(b.node.inputs[1]) + ":" + std::to_string(view.n_stride) + ":" +
                          std::to_string(view.groups) + ":" + std::to_string(view.alpha);
  const auto made = b.packed.get(key, [&]() -> PackedWeights::Memory { return pack(w, view, kernel, block); });
  return std::static_pointer_cast<const PackedCodes>(made);
}

const float* floats_of(const Build& b, size_t i, Tensor& memory) {
  if (const float* known = b.known_floats(i)) return known;
  if (!coded_input(b, i)) return nullptr;
  memory = make_tensor(DType::float32, b.shape(i));
  decode_range(*b.constant(i), 0, element_count(memory.shape), memory.as<float>());
  return memory.as<float>();
}

}  // namespace gossamer
