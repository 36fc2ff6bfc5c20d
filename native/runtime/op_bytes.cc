// Operators on plain tensors of bytes, which quantized.cc puts in place of quantized patterns.
#include <algorithm>

#include "kernels/qgemm/qgemm.h"
#include "runtime/errors.h"
#include "runtime/op.h"
#include "runtime/sparse_product.h"

namespace gossamer {
namespace {

// --- product with constant weights ---------------------------------------------------------------------------------------
// Inputs: uint8 (..., K), int8 weights (N, K), int32 start of the sums, float scale, float shift.

std::vector<DType> product_type(const Node& node, const Types&) {
  if (node.integer("float_out", 0)) return {DType::float32};
  return {node.integer("signed", 0) ? DType::int8 : DType::uint8};
}

void infer_product(Inference& n) {
  const Shape &x = n.shape(0), &w = n.shape(1);
  if (x.empty() || x.back() != w[1]) n.fail("input " + shape_text(x) + ", weights for " + std::to_string(w[1]) + " features");
  Shape out = x;
  out.back() = w[0];
  n.outputs = {out};
}

struct ProductWeights {
  std::shared_ptr<std::byte[]> packed;
  std::vector<int64_t> cell_offset;
};

struct Product {
  QgemmArgs args;  // but for the pointers of a run
  const QgemmKernel* kernel;
  std::vector<int64_t> pixel_offset;
  int64_t bytes_of_x = 0;
  std::shared_ptr<const ProductWeights> weights;
  Slot x, y, copy = kNoSlot;

  void run(const Run& run) const;
};

constexpr int64_t kWorthSharing = 100000;  // multiply-accumulates; below, waking a thread costs more than it brings

void Product::run(const Run& run) const {
  QgemmArgs whole = args;
  whole.a = run.at<uint8_t>(x);
  if (copy != kNoSlot) {
    std::copy_n(whole.a, bytes_of_x, run.at<uint8_t>(copy));
    whole.a = run.at<uint8_t>(copy);
  }
  whole.y = run.at<std::byte>(y);
  if (run.pool->threads() == 1 || whole.m * whole.n * whole.cells * 4 < kWorthSharing) return kernel->run(whole);
  const bool by_rows = whole.tile_end > whole.panel_end;
  run.pool->share(by_rows ? whole.tile_end : whole.panel_end, [&](int64_t begin, int64_t end, int) {
    QgemmArgs part = whole;
    (by_rows ? part.tile_begin : part.panel_begin) = begin;
    (by_rows ? part.tile_end : part.panel_end) = end;
    kernel->run(part);
  });
}

QgemmEdge product_edge(const Build& b) {
  QgemmEdge edge;
  edge.output = b.node.integer("float_out", 0) ? QgemmOutput::floats : QgemmOutput::bytes;
  edge.bias = reinterpret_cast<const int32_t*>(b.inputs[2]->known);
  edge.scale = b.known_floats(3);
  edge.shift = b.known_floats(4);
  edge.zero = static_cast<int32_t>(b.node.integer("zero", 0));
  edge.low = b.node.real("low", 0);
  edge.high = b.node.real("high", 255);
  if (edge.output == QgemmOutput::bytes) {
    edge.least = static_cast<int32_t>(edge.low);
    edge.most = static_cast<int32_t>(edge.high);
  }
  return edge;
}

std::shared_ptr<const ProductWeights> product_weights(Build& b, int64_t n, int64_t k, int width) {
  const auto made = b.packed.get("bytes:" + std::to_string(b.node.inputs[1]), [&]() -> PackedWeights::Memory {
    auto w = std::make_shared<ProductWeights>();
    for (int64_t cell = 0; 4 * cell < k; ++cell) w->cell_offset.push_back(4 * cell);
    w->packed = allocate(packed_weights_s8_size(n, (k + 3) / 4, width));
    pack_weights_s8(n, k, b.constant(1)->dense.as<int8_t>(), k, 1, width, reinterpret_cast<int8_t*>(w->packed.get()));
    return w;
  });
  return std::static_pointer_cast<const ProductWeights>(made);
}

SparseProduct sparse_product(Build& b) {
  const QgemmEdge edge = product_edge(b);
  SparseProduct p;
  p.n = b.shape(1)[0];
  p.k = b.shape(1)[1];
  p.m = element_count(b.shape(0)) / p.k;
  p.conv.byte_weights = b.constant(1)->dense.as<int8_t>();
  p.conv.weight_value = b.node.inputs[1];
  p.conv.initial = edge.bias;
  p.conv.scale = edge.scale;
  p.conv.shift = edge.shift;
  p.conv.epilogue.zero = edge.zero;
  p.conv.epilogue.low = edge.low;
  p.conv.epilogue.high = edge.high;
  p.conv.float_out = edge.output == QgemmOutput::floats;
  return p;
}

Step build_product(Build& b) {
  const int64_t n = b.shape(1)[0], k = b.shape(1)[1];
  SparseProduct sparse = sparse_product(b);
  // Cells of results are unsigned.
  if ((sparse.conv.float_out || sparse.conv.epilogue.low >= 0) && prefers_sparse_product(sparse)) {
    sparse.conv.x = b.in(0);
    sparse.conv.y = b.out();
    return sparse_product_step(b, std::move(sparse));
  }
  auto product = std::make_shared<Product>();
  product->kernel = &fastest(kQgemmKernels, b.isa);
  product->weights = product_weights(b, n, k, product->kernel->tile.width);
  QgemmArgs& a = product->args;
  product->bytes_of_x = element_count(b.shape(0));
  a.m = product->bytes_of_x / k;
  a.n = n;
  a.cells = (k + 3) / 4;
  for (int64_t i = 0; i < a.m; ++i) product->pixel_offset.push_back(i * k);
  a.pixel_offset = product->pixel_offset.data();
  a.cell_offset = product->weights->cell_offset.data();
  a.b = reinterpret_cast<const int8_t*>(product->weights->packed.get());
  a.edge = product_edge(b);
  a.y_pixel = n;
  const int64_t height = tile_height(a.m, product->kernel->tile.rows);
  a.tile_end = (a.m + height - 1) / height;
  a.panel_end = panel_count(n, product->kernel->tile.width);
  product->x = b.in(0);
  product->y = b.out();
  // The last cell of the last row may reach behind it.
  if (k % 4 && !b.in_arena(product->x)) product->copy = b.scratch(a.m * k + 4);
  return {[product](const Run& run) { product->run(run); }, product->kernel->name,
          product->copy == kNoSlot ? "" : "copies its input, whose rows are not whole cells of four", a.m * n * k,
          packed_weights_s8_size(n, a.cells, product->kernel->tile.width)};
}

// --- the other sign ------------------------------------------------------------------------------------------------------

void infer_flip(Inference& n) { n.outputs = {n.shape(0)}; }

Step build_flip(Build& b) {
  b.in_place.push_back(b.node.inputs[0]);
  const int64_t bytes = element_count(b.shape(0));
  return {[=, x = b.in(0), y = b.out()](const Run& run) {
            const uint8_t* from = run.at<uint8_t>(x);
            uint8_t* to = run.at<uint8_t>(y);
            for (int64_t i = 0; i < bytes; ++i) to[i] = from[i] ^ 0x80;
          },
          "flip", "int8 to uint8, for the products of bytes"};
}

std::vector<DType> unsigned_type(const Node&, const Types&) { return {DType::uint8}; }

constexpr Operator kOperators[] = {
    {"gossamer.MatMul", 5, 5, "", product_type, infer_product, build_product},
    {"gossamer.Flip", 1, 1, "", unsigned_type, infer_flip, build_flip},
};

}  // namespace

std::span<const Operator> byte_operators() { return kOperators; }

}  // namespace gossamer
