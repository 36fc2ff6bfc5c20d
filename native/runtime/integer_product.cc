#include "runtime/integer_product.h"

#include <algorithm>

#include "kernels/qgemm/qgemm.h"

namespace gossamer {
namespace {

// Weights as signed bytes in panels, their sum in each column, and their zero point.
struct Weights {
  std::shared_ptr<std::byte[]> packed;
  std::vector<int32_t> sums;
};

struct Zeros {
  Slot x = kNoSlot;
  bool x_signed = false;
  int32_t weights = 0;  // of weights seen as signed bytes
};

int64_t whole_cells(int64_t n) { return (n + 3) / 4 * 4; }

// uint8 weights become int8 ones, 128 lower.
std::shared_ptr<const Weights> pack(const Tensor& w, int width) {
  const int64_t k = w.shape[0], n = w.shape[1];
  const uint8_t flip = w.dtype == DType::uint8 ? 0x80 : 0;
  std::vector<int8_t> values(static_cast<size_t>(k * n));
  auto made = std::make_shared<Weights>();
  made->sums.assign(static_cast<size_t>(n), 0);
  for (int64_t i = 0; i < k * n; ++i) {
    const auto value = static_cast<int8_t>(w.as<uint8_t>()[i] ^ flip);
    values[static_cast<size_t>(i)] = value;
    made->sums[static_cast<size_t>(i % n)] += value;
  }
  made->packed = allocate(packed_weights_s8_size(n, whole_cells(k) / 4, width));
  pack_weights_s8(n, k, values.data(), 1, n, width, reinterpret_cast<int8_t*>(made->packed.get()));
  return made;
}

// sum (x - x_zero) (w - w_zero) = sum x w - x_zero sum w + k x_zero w_zero - w_zero sum x; wraps around as the sums do.
struct Product {
  int64_t m, n, k;
  Zeros zeros;
  std::shared_ptr<const Weights> weights;
  const QgemmKernel* kernel;
  std::vector<int64_t> pixel_offset, cell_offset;
  Slot x, y, copy, bias, added;
  Requantization requantization;  // where there are multipliers
  std::vector<int32_t> multiplier, right_shift;

  QgemmEdge edge(const int32_t* start) const {
    QgemmEdge e;
    e.bias = start;
    if (multiplier.empty()) return e;
    e.output = QgemmOutput::fixed_point;
    e.multiplier = multiplier.data();
    e.right_shift = right_shift.data();
    e.zero = requantization.zero;
    e.least = requantization.low;
    e.most = requantization.high;
    return e;
  }

  // Rows of unsigned bytes in whole cells.
  const uint8_t* rows(const Run& run) const {
    if (copy == kNoSlot) return run.at<uint8_t>(x);
    const uint8_t flip = zeros.x_signed ? 0x80 : 0;
    const int64_t stride = whole_cells(k);
    for (int64_t i = 0; i < m; ++i) {
      const uint8_t* from = run.at<uint8_t>(x) + i * k;
      uint8_t* to = run.at<uint8_t>(copy) + i * stride;
      for (int64_t j = 0; j < k; ++j) to[j] = from[j] ^ flip;
      std::fill(to + k, to + stride, uint8_t{0});
    }
    return run.at<uint8_t>(copy);
  }

  uint32_t zero_of_rows(const Run& run) const {
    if (zeros.x == kNoSlot) return zeros.x_signed ? 128 : 0;
    return static_cast<uint32_t>(zeros.x_signed ? *run.at<int8_t>(zeros.x) + 128 : *run.at<uint8_t>(zeros.x));
  }

  void run(const Run& run) const {
    const uint32_t x_zero = zero_of_rows(run), w_zero = static_cast<uint32_t>(zeros.weights);
    auto* start = run.at<int32_t>(bias);
    for (int64_t j = 0; j < n; ++j) {
      const uint32_t sum = x_zero * (static_cast<uint32_t>(k) * w_zero - static_cast<uint32_t>(weights->sums[static_cast<size_t>(j)]));
      start[j] = static_cast<int32_t>(sum + (added == kNoSlot ? 0u : run.at<uint32_t>(added)[j]));
    }
    QgemmArgs g;
    g.m = m;
    g.n = n;
    g.cells = whole_cells(k) / 4;
    g.a = rows(run);
    g.pixel_offset = pixel_offset.data();
    g.cell_offset = cell_offset.data();
    g.b = reinterpret_cast<const int8_t*>(weights->packed.get());
    g.edge = edge(start);
    g.y = run.at<std::byte>(y);
    g.y_pixel = n;
    const int64_t height = tile_height(m, kernel->tile.rows);
    g.tile_end = (m + height - 1) / height;
    run.pool->share(panel_count(n, kernel->tile.width), [&](int64_t begin, int64_t end, int) {
      QgemmArgs part = g;
      part.panel_begin = begin;
      part.panel_end = end;
      kernel->run(part);
    });
    if (w_zero) subtract_row_sums(run, g.a, w_zero);
  }

  void subtract_row_sums(const Run& run, const uint8_t* rows, uint32_t w_zero) const {
    for (int64_t i = 0; i < m; ++i) {
      uint32_t sum = 0;
      for (int64_t j = 0; j < k; ++j) sum += rows[i * whole_cells(k) + j];
      int32_t* to = run.at<int32_t>(y) + i * n;
      for (int64_t j = 0; j < n; ++j) to[j] = static_cast<int32_t>(static_cast<uint32_t>(to[j]) - sum * w_zero);
    }
  }
};

using Infos = std::vector<const ValueInfo*>;

bool is_there(const Infos& inputs, size_t i) { return i < inputs.size() && inputs[i]; }
bool is_one(const Infos& inputs, size_t i) { return !is_there(inputs, i) || element_count(inputs[i]->shape) == 1; }

// The zero point of the weights seen as signed bytes.
int32_t zero_of_weights(const Infos& inputs) {
  const bool is_signed = inputs[1]->dtype == DType::int8;
  const std::byte* zero = is_there(inputs, 3) ? inputs[3]->known : nullptr;
  const int given = !zero ? 0 : is_signed ? *reinterpret_cast<const int8_t*>(zero) : *reinterpret_cast<const uint8_t*>(zero);
  return given - (is_signed ? 0 : 128);
}

std::vector<int32_t> of_columns(const int32_t* values, bool many, int64_t n) {
  return many ? std::vector<int32_t>(values, values + n) : std::vector<int32_t>(static_cast<size_t>(n), *values);
}

}  // namespace

bool has_integer_product(const Node& node, const Model& model, const Infos& inputs) {
  if (node.op != "MatMulInteger") return false;
  const Constant* w = model.constant(node.inputs[1]);
  return w && w->dense.data && w->dense.shape.size() == 2 && element_count(w->dense.shape) > 0 && !inputs[0]->shape.empty() &&
         is_one(inputs, 2) && is_one(inputs, 3) && (!is_there(inputs, 3) || inputs[3]->known);
}

bool may_requantize(const Infos& inputs) { return zero_of_weights(inputs) == 0; }

Step integer_product_step(Build& b) {
  const Tensor& w = b.constant(1)->dense;
  auto p = std::make_shared<Product>();
  p->kernel = &fastest(kQgemmKernels, b.isa);
  p->k = w.shape[0];
  p->n = w.shape[1];
  p->m = element_count(b.shape(0)) / p->k;
  p->zeros = {b.in(2), b.inputs[0]->dtype == DType::int8, zero_of_weights(b.inputs)};
  p->added = b.optional(b.epilogue.bias);
  if (const auto& q = b.epilogue.requantization) {
    p->multiplier = of_columns(q->multiplier, q->many, p->n);
    p->right_shift = of_columns(q->right_shift, q->many, p->n);
    p->requantization = *q;
  }
  p->weights = std::static_pointer_cast<const Weights>(b.packed.get("integers:" + std::to_string(b.node.inputs[1]), [&]() -> PackedWeights::Memory {
    return pack(w, p->kernel->tile.width);
  }));
  const int64_t stride = whole_cells(p->k);
  for (int64_t i = 0; i < p->m; ++i) p->pixel_offset.push_back(i * stride);
  for (int64_t i = 0; i < stride; i += 4) p->cell_offset.push_back(i);
  p->x = b.in(0);
  p->y = b.out();
  p->copy = p->zeros.x_signed || stride != p->k ? b.scratch(p->m * stride) : kNoSlot;
  p->bias = b.scratch(p->n * 4);
  return {[product = std::shared_ptr<const Product>(p)](const Run& run) { product->run(run); }, p->kernel->name, "", p->m * p->n * p->k,
          packed_weights_s8_size(p->n, stride / 4, p->kernel->tile.width)};
}

}  // namespace gossamer
