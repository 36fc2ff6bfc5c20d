#include "runtime/pack.h"

#include "runtime/errors.h"

namespace gossamer {
namespace {

std::string key_of(const char* kind, const Build& b, const MatrixView& view) {
  return std::string(kind) + ":" + std::to_string(b.node.inputs[1]) + ":" + std::to_string(view.n_stride) + ":" +
         std::to_string(view.alpha);
}

std::vector<float> scaled(std::vector<float> values, float alpha) {
  for (float& value : values) value *= alpha;
  return values;
}

// Row (output) and column (input) of the kept weight at a flat position.
struct Place {
  int64_t row, column;
};

Place place_of(int64_t position, const MatrixView& v) {
  const bool transposed = v.n_stride != 1;  // stored n x k: rows are contiguous
  return transposed ? Place{position / v.k, position % v.k} : Place{position % v.n, position / v.n};
}

void put(std::byte* to, int bytes, int64_t at, int64_t value) {
  if (bytes == 1) reinterpret_cast<uint8_t*>(to)[at] = static_cast<uint8_t>(value);
  else if (bytes == 2) reinterpret_cast<uint16_t*>(to)[at] = static_cast<uint16_t>(value);
  else reinterpret_cast<uint32_t*>(to)[at] = static_cast<uint32_t>(value);
}

int64_t code_at(const SparseWeight& w, size_t i) {
  return w.code_bytes == 1 ? reinterpret_cast<const uint8_t*>(w.codes.get())[i]
                           : reinterpret_cast<const uint16_t*>(w.codes.get())[i];
}

// Positions increase, so within a row the columns come out in order whichever way the weight is stored.
void fill_rows(const SparseWeight& w, const MatrixView& v, PackedSparse& packed) {
  std::vector<uint32_t> next(packed.starts.begin(), packed.starts.end() - 1);
  for (size_t i = 0; i < w.positions.size(); ++i) {
    const Place place = place_of(w.positions[i], v);
    const int64_t at = next[static_cast<size_t>(place.row)]++;
    put(packed.indices.get(), packed.index_bytes, at, place.column);
    if (w.code_bytes) put(packed.codes.get(), w.code_bytes, at, code_at(w, i));
    else packed.values[static_cast<size_t>(at)] = w.values[i] * v.alpha;
  }
}

std::shared_ptr<PackedSparse> compress_rows(const SparseWeight& w, const MatrixView& v) {
  auto packed = std::make_shared<PackedSparse>();
  const size_t kept = w.positions.size();
  packed->rows = v.n;
  packed->columns = v.k;
  packed->index_bytes = v.k <= 65536 ? 2 : 4;
  packed->code_bytes = w.code_bytes;
  packed->starts.assign(static_cast<size_t>(v.n) + 1, 0);
  for (const int64_t position : w.positions) ++packed->starts[static_cast<size_t>(place_of(position, v).row) + 1];
  for (size_t row = 0; row < static_cast<size_t>(v.n); ++row) packed->starts[row + 1] += packed->starts[row];
  packed->indices = allocate(static_cast<int64_t>(kept) * packed->index_bytes);
  packed->codes = allocate(static_cast<int64_t>(kept) * w.code_bytes);
  packed->values = w.code_bytes ? scaled(w.values, v.alpha) : std::vector<float>(kept);
  fill_rows(w, v, *packed);
  return packed;
}

}  // namespace

SparseMatrix PackedSparse::view() const {
  return {rows, columns, starts.data(), indices.get(), index_bytes, values.data(),
          code_bytes ? codes.get() : nullptr, code_bytes, static_cast<int>(values.size())};
}

int64_t PackedSparse::bytes() const {
  const int64_t kept = starts.back();
  return kept * (index_bytes + code_bytes) + 4 * static_cast<int64_t>(values.size() + starts.size());
}

std::shared_ptr<const PackedSparse> pack_sparse(Build& b, const SparseWeight& w, const MatrixView& view) {
  if (w.positions.size() >= (uint64_t{1} << 31) || view.k >= (int64_t{1} << 31)) {
    throw Unsupported(b.node.label() + ": a sparse matrix of 2^31 or more kept weights; store it dense");
  }
  const auto made = b.packed.get(key_of("sparse", b, view),
                                 [&]() -> PackedWeights::Memory { return compress_rows(w, view); });
  return std::static_pointer_cast<const PackedSparse>(made);
}

}  // namespace gossamer
