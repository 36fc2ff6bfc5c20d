// Gemm and MatMul: dense, sparse and codebook weights.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/gemm/gemm.h"
#include "runtime/bf16.h"
#include "runtime/coded_weight.h"
#include "runtime/errors.h"
#include "runtime/op.h"
#include "runtime/pack.h"
#include "runtime/product.h"
#include "runtime/rewrite.h"

namespace gossamer {
namespace {

constexpr int64_t kWorthSharing = 100000;  // multiply-accumulates; below, waking a thread costs more than it brings

// The product's tiles of rows, or else its panels, over the pool.
template <class Call>
void share_product(const Run& run, GemmArgs whole, Tile tile, const Call& call) {
  const int64_t height = tile_height(whole.m, tile.rows);
  whole.tile_end = height ? (whole.m + height - 1) / height : 0;
  whole.panel_end = panel_count(whole.n, tile.width);
  if (run.pool->threads() == 1 || whole.m * whole.n * whole.k < kWorthSharing) return call(whole);
  const bool by_rows = whole.tile_end >= run.pool->threads() && !whole.coded;  // each panel of codes is decoded once
  run.pool->share(by_rows ? whole.tile_end : whole.panel_end, [&](int64_t begin, int64_t end, int worker) {
    GemmArgs part = whole;
    if (part.coded) part.decoded += worker * kDecodedFloats;
    (by_rows ? part.tile_begin : part.panel_begin) = begin;
    (by_rows ? part.tile_end : part.panel_end) = end;
    call(part);
  });
}

GemmArgs gemm_args(const Product& p, const Epilogue& epilogue) {
  GemmArgs g;
  g.m = p.m;
  g.n = p.n;
  g.k = p.k;
  g.a_row = p.a_row;
  g.a_k = p.a_k;
  g.c_stride = p.n;
  g.low = epilogue.low;
  g.high = epilogue.high;
  return g;
}

void set_pointers(GemmArgs& g, const Run& run, const Product& p, Slot a, Slot c) {
  g.a = run.at<float>(a);
  g.c = run.at<float>(c);
  g.column_bias = run.at<float>(p.bias);
  g.residual = run.at<float>(p.residual);
}

PackedWeights::Memory packed_matrix(Build& b, const Product& p, const GemmKernel& kernel, size_t input) {
  const std::string key = "gemm:" + std::to_string(b.node.inputs[input]) + ":" + std::to_string(p.k) + ":" + std::to_string(p.n) +
                          ":" + std::to_string(p.b_n) + ":" + std::to_string(p.alpha);
  return b.packed.get(key, [&] {
    const int64_t size = packed_size(p.k, p.n, kernel.tile.width);
    Tensor packed = make_tensor(DType::float32, {size});
    Tensor decoded;
    pack_b(p.k, p.n, floats_of(b, input, decoded), p.b_k, p.b_n, kernel.tile.width, packed.as<float>());
    for (int64_t i = 0; i < size && p.alpha != 1; ++i) packed.as<float>()[i] *= p.alpha;
    return packed.data;
  });
}

Step constant_product(Build& b, const Product& p, const GemmKernel& kernel) {
  const auto packed = packed_matrix(b, p, kernel, 1);
  const GemmArgs fixed = gemm_args(p, b.epilogue);
  const Slot a = b.in(0), c = b.out();
  return {[=, run_rows = kernel.run, tile = kernel.tile](const Run& run) {
            GemmArgs g = fixed;
            set_pointers(g, run, p, a, c);
            g.b = static_cast<const float*>(packed.get());
            share_product(run, g, tile, run_rows);
          },
          kernel.name, "", p.m * p.n * p.k};
}

// Rows of A are rounded in every run, B once.
Step bf16_product(Build& b, const Product& p) {
  const Bf16Kernel& kernel = fastest(kBf16Kernels, b.isa);
  const int64_t pairs = bf16_pairs(p.k), size = packed_size(pairs, p.n, kernel.tile.width);
  const std::string key = "bf16:" + std::to_string(b.node.inputs[1]) + ":" + std::to_string(p.b_n) + ":" + std::to_string(p.alpha);
  const auto packed = b.packed.get(key, [&] {
    Tensor memory = make_tensor(DType::uint32, {size});
    pack_bf16(p.k, p.n, b.known_floats(1), p.b_k, p.b_n, p.alpha, kernel.tile.width, memory.as<uint32_t>());
    return memory.data;
  });
  GemmArgs fixed = gemm_args(p, b.epilogue);
  fixed.k = fixed.a_row = pairs;
  const Slot a = b.in(0), c = b.out(), rounded = b.scratch(p.m * pairs * 4);
  return {[=, kernel = &kernel](const Run& run) {
            uint32_t* to = run.at<uint32_t>(rounded);
            const float* from = run.at<float>(a);
            run.pool->share(p.m, [&](int64_t begin, int64_t end, int) {
              for (int64_t i = begin; i < end; ++i) round_to_pairs(*kernel, from + i * p.k, p.k, to + i * pairs);
            });
            GemmArgs g = fixed;
            set_pointers(g, run, p, a, c);
            g.a = reinterpret_cast<const float*>(to);
            g.b = static_cast<const float*>(packed.get());
            share_product(run, g, kernel->tile, kernel->run);
          },
          kernel.name, bf16_note(b.isa), p.m * p.n * p.k, size * 4};
}

Step dynamic_product(Build& b, const Product& p, const GemmKernel& kernel) {
  const int64_t size = packed_size(p.k, p.n, kernel.tile.width);
  const auto place = [](Slot moved, Slot own) { return moved == kNoSlot ? own : moved; };
  const Slot scratch = b.scratch(size * 4), a = place(p.a, b.in(0)), right = place(p.b, b.in(1)), c = place(p.c, b.out());
  const GemmArgs fixed = gemm_args(p, b.epilogue);
  const int64_t pairs = p.a_offsets.empty() ? 1 : static_cast<int64_t>(p.a_offsets.size());
  return {[=, kernel = &kernel](const Run& run) {
            for (int64_t i = 0; i < pairs; ++i) {
              const int64_t a_offset = p.a_offsets.empty() ? 0 : p.a_offsets[static_cast<size_t>(i)];
              const int64_t b_offset = p.b_offsets.empty() ? 0 : p.b_offsets[static_cast<size_t>(i)];
              float* packed = run.at<float>(scratch);
              pack_b(p.k, p.n, run.at<float>(right) + b_offset, p.b_k, p.b_n, kernel->tile.width, packed);
              for (int64_t j = 0; j < size && p.alpha != 1; ++j) packed[j] *= p.alpha;
              GemmArgs g = fixed;
              set_pointers(g, run, p, a, c);
              g.a += a_offset;
              g.b = packed;
              g.c += i * p.m * p.n;
              if (g.residual) g.residual += i * p.m * p.n;
              share_product(run, g, kernel->tile, kernel->run);
            }
          },
          kernel.name, "the right matrix is not constant: packed in every run", pairs * p.m * p.n * p.k};
}

// Nothing where the scales do not allow it.
std::optional<Step> coded_product(Build& b, const Product& p, const CodedWeight& w) {
  const auto packed = pack_coded(b, w, {p.k, p.n, p.b_k, p.b_n, 1, p.alpha});
  if (!packed) return std::nullopt;
  const GemmKernel& kernel = fastest(kGemmKernels, b.isa);
  const GemmArgs fixed = gemm_args(p, b.epilogue);
  const Slot a = b.in(0), c = b.out(), scratch = b.scratch(kDecodedFloats * 4 * b.threads);
  return Step{[=, kernel = &kernel](const Run& run) {
                GemmArgs g = fixed;
                set_pointers(g, run, p, a, c);
                g.coded = &packed->panels;
                g.decoded = run.at<float>(scratch);
                share_product(run, g, kernel->tile, kernel->run);
              },
              std::string("codes+") + kernel.name, "", p.m * p.n * p.k, packed->bytes()};
}

Step sparse_product(Build& b, const Product& p, const SparseWeight& w) {
  const auto& kernel = fastest(kSparseKernels, b.isa);
  const auto packed = pack_sparse(b, w, {p.k, p.n, p.b_k, p.b_n, p.alpha});
  const int64_t scratch_floats = p.k * kSparseLanes, kept = static_cast<int64_t>(w.positions.size());
  const Slot scratch = b.scratch(scratch_floats * 4 * b.threads), x = b.in(0), y = b.out(), bias = p.bias;
  const Slot residual = p.residual;
  const bool shared = p.m * kept >= kWorthSharing;
  SparseArgs fixed;
  fixed.w = packed->view();
  fixed.batch = p.m;
  fixed.low = b.epilogue.low;
  fixed.high = b.epilogue.high;
  return {[=, run_rows = kernel.run](const Run& run) {
            const auto rows = [&](int64_t begin, int64_t end, int worker) {
              SparseArgs s = fixed;
              s.w = packed->view();
              s.x = run.at<float>(x);
              s.y = run.at<float>(y);
              s.bias = run.at<float>(bias);
              s.residual = run.at<float>(residual);
              s.scratch = run.at<float>(scratch) + worker * scratch_floats;
              s.row_begin = begin;
              s.row_end = end;
              run_rows(s);
            };
            if (shared) run.pool->share(p.n, rows);
            else rows(0, p.n, 0);
          },
          kernel.name, "", p.m * kept, packed->bytes()};
}

// The pruned form of the weight, if a kernel can use it: a constant whose dense form was never needed, applied to row-major
// activations.
const SparseWeight* sparse_weight(const Build& b, const Product& p) {
  const Constant* w = b.constant(1);
  if (!w || w->dense.data || p.a_k != 1 || p.a_row != p.k || !p.a_offsets.empty()) return nullptr;
  return std::get_if<SparseWeight>(&w->compressed);
}

// Rows of activations and a constant matrix, which is dense.
bool fits_bf16(const Build& b, const Product& p) {
  return p.a_k == 1 && p.a_row == p.k && p.b_offsets.empty() && b.known_floats(1) && !sparse_weight(b, p) && !coded_input(b, 1);
}

Step float32_product(Build& b, const Product& p) {
  const GemmKernel& kernel = fastest(kGemmKernels, b.isa);
  if (const SparseWeight* w = sparse_weight(b, p)) return sparse_product(b, p, *w);
  const CodedWeight* coded = coded_input(b, 1);
  if (coded) {
    if (auto step = coded_product(b, p, *coded)) return *std::move(step);
  }
  if ((!b.known_floats(1) && !coded) || !p.b_offsets.empty()) return dynamic_product(b, p, kernel);
  Step step = constant_product(b, p, kernel);
  if (const Constant* w = b.constant(1)) step.note = coded ? "quantized weights decoded: their scales change along the sum" : w->note;
  return step;
}

Step build_product(Build& b, const Product& p) {
  if (p.residual != kNoSlot && b.epilogue.residual != kAbsent) b.in_place.push_back(b.epilogue.residual);
  if (b.precision == Precision::float32) return float32_product(b, p);
  if (fits_bf16(b, p)) return bf16_product(b, p);
  Step step = float32_product(b, p);
  const bool transposed = p.a_k != 1 || p.a_row != p.k;
  step.add_note(transposed ? "float32: bfloat16 is for left matrices by rows, and this one is transposed"
                           : "float32: bfloat16 is for constant, dense weights that are no codes");
  return step;
}

}  // namespace

Step dense_product(Build& b, const Product& p) {
  const GemmKernel& kernel = fastest(kGemmKernels, b.isa);
  const bool constant = b.known_floats(1) && p.b_offsets.empty() && !p.is_moved();
  return constant ? constant_product(b, p, kernel) : dynamic_product(b, p, kernel);
}

namespace {

// --- Gemm ----------------------------------------------------------------------------------------------------------------

void infer_gemm(Inference& n) {
  if (n.shape(0).size() != 2 || n.shape(1).size() != 2) n.fail("Gemm multiplies two matrices");
  const bool ta = n.node.integer("transA", 0) != 0, tb = n.node.integer("transB", 0) != 0;
  const int64_t m = n.shape(0)[ta], k = n.shape(0)[!ta], columns = n.shape(1)[!tb], depth = n.shape(1)[tb];
  if (k != depth) n.fail("inner dimensions " + std::to_string(k) + " and " + std::to_string(depth) + " differ");
  const Shape result{m, columns};
  if (n.has(2) && broadcast(n.shape(2), result, n.node) != result) n.fail("C does not broadcast to the product");
  n.outputs = {result};
}

// C as a matrix: strides that are zero where it is broadcast.
struct Addend {
  int64_t row = 0, column = 0;
};

Addend addend_strides(const Shape& c) {
  const int64_t columns = c.empty() ? 1 : c.back(), rows = c.size() < 2 ? 1 : c[0];
  return {rows == 1 ? 0 : columns, columns == 1 ? 0 : 1};
}

// The general C: beta C (+ a fused residual) into scratch, before the product.
Step with_addend(Build& b, Product p, float beta) {
  const Addend strides = addend_strides(b.shape(2));
  const Slot filled = b.scratch(p.m * p.n * 4), c = b.in(2), residual = b.optional(b.epilogue.residual);
  p.residual = filled;
  b.epilogue.residual = kAbsent;
  Step step = build_product(b, p);
  step.run = [=, product = std::move(step.run)](const Run& run) {
    const float *from = run.at<float>(c), *add = run.at<float>(residual);
    float* to = run.at<float>(filled);
    for (int64_t i = 0; i < p.m; ++i) {
      for (int64_t j = 0; j < p.n; ++j) {
        const int64_t at = i * p.n + j;
        to[at] = beta * from[i * strides.row + j * strides.column] + (add ? add[at] : 0.0f);
      }
    }
    product(run);
  };
  return step;
}

Step build_gemm(Build& b) {
  const bool ta = b.node.integer("transA", 0) != 0, tb = b.node.integer("transB", 0) != 0;
  Product p;
  p.m = b.out_shape()[0];
  p.n = b.out_shape()[1];
  p.k = b.shape(0)[!ta];
  p.a_row = ta ? 1 : p.k;
  p.a_k = ta ? p.m : 1;
  p.b_k = tb ? 1 : p.n;
  p.b_n = tb ? p.k : 1;
  p.alpha = b.node.real("alpha", 1);
  p.bias = b.optional(b.epilogue.bias);
  const float beta = b.node.real("beta", 1);
  if (b.has(2) && beta != 0) {
    const Shape& c = b.shape(2);
    const bool plain = beta == 1 && !c.empty() && c.back() == p.n && element_count(c) == p.n;
    if (!plain) return with_addend(b, p, beta);
    p.bias = b.in(2);
  }
  p.residual = b.optional(b.epilogue.residual);
  return build_product(b, p);
}

// --- MatMul --------------------------------------------------------------------------------------------------------------

// Shapes with a vector made a matrix, as numpy.matmul has it.
struct MatMulShapes {
  Shape a, b, batch;
  bool vector_a, vector_b;
};

MatMulShapes matmul_shapes(Shape a, Shape b, const Node& node) {
  if (a.empty() || b.empty()) throw ShapeError(node.label() + ": MatMul has no meaning for a scalar");
  const bool vector_a = a.size() == 1, vector_b = b.size() == 1;
  if (vector_a) a.insert(a.begin(), 1);
  if (vector_b) b.push_back(1);
  const Shape batch = broadcast(Shape(a.begin(), a.end() - 2), Shape(b.begin(), b.end() - 2), node);
  return {std::move(a), std::move(b), batch, vector_a, vector_b};
}

void infer_matmul(Inference& n) {
  const MatMulShapes s = matmul_shapes(n.shape(0), n.shape(1), n.node);
  if (s.a.back() != s.b[s.b.size() - 2]) {
    n.fail("inner dimensions of " + shape_text(n.shape(0)) + " and " + shape_text(n.shape(1)) + " differ");
  }
  Shape result = s.batch;
  if (!s.vector_a) result.push_back(s.a[s.a.size() - 2]);
  if (!s.vector_b) result.push_back(s.b.back());
  n.outputs = {result};
}

// Where each matrix of a batch begins, with the batch broadcast to `batch`.
std::vector<int64_t> matrix_offsets(const Shape& shape, const Shape& batch) {
  const Shape own(shape.begin(), shape.end() - 2);
  const int64_t area = shape[shape.size() - 2] * shape.back();
  const Shape strides = row_major(own);
  std::vector<int64_t> offsets(static_cast<size_t>(element_count(batch)));
  for (size_t i = 0; i < offsets.size(); ++i) {
    int64_t rest = static_cast<int64_t>(i);
    for (size_t d = batch.size(); d-- > 0;) {
      const int64_t index = rest % batch[d];
      rest /= batch[d];
      if (d + own.size() < batch.size()) continue;
      const size_t mine = d + own.size() - batch.size();
      if (own[mine] != 1) offsets[i] += index * strides[mine] * area;
    }
  }
  return offsets;
}

Step build_matmul(Build& b) {
  const MatMulShapes s = matmul_shapes(b.shape(0), b.shape(1), b.node);
  Product p;
  p.k = s.a.back();
  p.n = s.b.back();
  p.m = s.a[s.a.size() - 2];
  p.a_row = p.k;
  p.b_k = p.n;
  p.bias = b.optional(b.epilogue.bias);
  p.residual = b.optional(b.epilogue.residual);
  if (element_count(Shape(s.b.begin(), s.b.end() - 2)) == 1) {  // one right matrix: all left rows in one product
    p.m *= element_count(s.batch);
  } else {
    p.a_offsets = matrix_offsets(s.a, s.batch);
    p.b_offsets = matrix_offsets(s.b, s.batch);
  }
  return build_product(b, p);
}

// --- MatMul of integers, which wraps around ------------------------------------------------------------------------------

std::vector<DType> whole_types(const Node& node, const Types& inputs) {
  if (inputs[1] != inputs[0]) reject_type(node, 1, *inputs[1], std::string(dtype_name(*inputs[0])) + ", as the first input");
  return {*inputs[0]};
}

// Unsigned arithmetic: the bits of a signed product are the same. Rows of B are added to a row of the result.
template <class T>
void multiply(int64_t m, int64_t n, int64_t k, const T* a, const T* b, T* c) {
  std::fill_n(c, m * n, T{0});
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t p = 0; p < k; ++p) {
      for (int64_t j = 0; j < n; ++j) c[i * n + j] += a[i * k + p] * b[p * n + j];
    }
  }
}

Step build_whole_matmul(Build& b) {
  const MatMulShapes s = matmul_shapes(b.shape(0), b.shape(1), b.node);
  const int64_t m = s.a[s.a.size() - 2], n = s.b.back(), k = s.a.back();
  const auto step = [&]<class T>(T) -> Step {
    return {[=, left = matrix_offsets(s.a, s.batch), right = matrix_offsets(s.b, s.batch), x = b.in(0), y = b.in(1), out = b.out()](const Run& run) {
              for (size_t i = 0; i < left.size(); ++i) {
                multiply(m, n, k, run.at<T>(x) + left[i], run.at<T>(y) + right[i], run.at<T>(out) + static_cast<int64_t>(i) * m * n);
              }
            },
            "plain loop", "", static_cast<int64_t>(element_count(s.batch)) * m * n * k};
  };
  return dtype_size(b.inputs[0]->dtype) == 8 ? step(uint64_t{}) : step(uint32_t{});
}

constexpr Operator kOperators[] = {
    {kWholeMatMul, 2, 2, "", whole_types, infer_matmul, build_whole_matmul},
    {"Gemm", 2, 3, " alpha beta transA transB ", float_types, infer_gemm, build_gemm, Fusion::affine},
    {"MatMul", 2, 2, "", float_types, infer_matmul, build_matmul, Fusion::affine},
};

}  // namespace

std::span<const Operator> linear_operators() { return kOperators; }

}  // namespace gossamer
