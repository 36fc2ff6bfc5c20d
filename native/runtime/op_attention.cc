// gossamer.Attention: softmax(scale Q K^T + mask) V of every head, in blocks of rows whose scores stay in the cache.
//
// Q (B, H, S, D), K^T (B, H, D, T) and V (B, H, T, E) are read in place, through the strides of tensors whose dimension
// perm[d] is dimension d of these; sizes of 1 are broadcast. The output is (B, S, H, E), or (B, H, S, E) where nothing
// transposed it. The mask broadcasts to (B, H, S, T).
#include <algorithm>
#include <array>
#include <limits>

#include "kernels/elementwise/elementwise.h"
#include "kernels/gemm/gemm.h"
#include "kernels/rows/rows.h"
#include "runtime/attention.h"
#include "runtime/byte_attention.h"
#include "runtime/errors.h"
#include "runtime/op.h"

namespace gossamer {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int64_t kScoreFloats = 8192;  // of a block: they stay in the first or second cache level with what they meet

View view_of(const Node& node, const Shape& shape, const std::vector<int64_t>& perm) {
  if (shape.size() != 4 || perm.size() != 4) throw ShapeError(node.label() + ": a tensor of shape " + shape_text(shape) + " in attention");
  const Shape strides = row_major(shape);
  View view;
  for (size_t d = 0; d < 4; ++d) {
    const auto from = static_cast<size_t>(perm[d]);
    view.size[d] = shape[from];
    view.stride[d] = shape[from] == 1 ? 0 : strides[from];
  }
  return view;
}

View mask_view(const Node& node, Shape shape) {
  if (shape.size() > 4) throw ShapeError(node.label() + ": a mask of shape " + shape_text(shape));
  shape.insert(shape.begin(), 4 - shape.size(), 1);
  return view_of(node, shape, {0, 1, 2, 3});
}

int64_t common(const Node& node, std::initializer_list<int64_t> sizes) {
  int64_t result = 1;
  for (const int64_t size : sizes) {
    if (size != 1 && result != 1 && size != result) {
      throw ShapeError(node.label() + ": dimensions " + std::to_string(result) + " and " + std::to_string(size) + " in attention do not fit");
    }
    if (size != 1) result = size;
  }
  return result;
}

void expect(const Node& node, bool fits) {
  if (!fits) throw ShapeError(node.label() + ": the inner dimensions of attention do not fit");
}

Shape output_shape(const Attention& a, bool transposed) {
  return transposed ? Shape{a.batch, a.rows, a.heads, a.width} : Shape{a.batch, a.heads, a.rows, a.width};
}

Attention attention_of(const Node& node, const Shape& q, const Shape& k, const Shape& v, const Shape* mask) {
  Attention a;
  a.q = view_of(node, q, node.integers("q_perm"));
  a.k = view_of(node, k, node.integers("k_perm"));
  a.v = view_of(node, v, node.integers("v_perm"));
  a.has_mask = mask != nullptr;
  if (mask) a.mask = mask_view(node, *mask);
  const auto& m = a.mask.size;
  a.batch = common(node, {a.q.size[0], a.k.size[0], a.v.size[0], mask ? m[0] : 1});
  a.heads = common(node, {a.q.size[1], a.k.size[1], a.v.size[1], mask ? m[1] : 1});
  a.rows = a.q.size[2];
  a.depth = a.q.size[3];
  a.columns = a.k.size[3];
  a.width = a.v.size[3];
  expect(node, a.k.size[2] == a.depth && a.v.size[2] == a.columns);
  expect(node, !mask || ((m[2] == 1 || m[2] == a.rows) && (m[3] == 1 || m[3] == a.columns)));
  const bool transposed = node.integer("transposed", 0) != 0;
  a.out = view_of(node, output_shape(a, transposed), transposed ? std::vector<int64_t>{0, 2, 1, 3} : std::vector<int64_t>{0, 1, 2, 3});
  a.scale = node.real("scale", 1);
  a.replaces_nan = node.integer("replaces_nan", 0) != 0;
  const auto* numbers = std::get_if<std::vector<float>>(node.find("rounding"));
  for (size_t i = 0; numbers && i < kAttentionPlaces; ++i) {
    const float* r = numbers->data() + 4 * i;
    a.rounding[i] = {r[0], r[1], r[2], r[3]};
  }
  return a;
}

void infer_attention(Inference& n) {
  const Attention a = attention_of(n.node, n.shape(0), n.shape(1), n.shape(2), n.has(3) ? &n.shape(3) : nullptr);
  n.outputs = {output_shape(a, n.node.integer("transposed", 0) != 0)};
}

// The kernels, and how much memory a thread needs for one head: floats from `scratch` on.
struct HeadPlan {
  Attention a;
  const GemmKernel* gemm;
  void (*binary)(const BinaryArgs&) = nullptr;
  void (*softmax)(const SoftmaxArgs&) = nullptr;
  void (*round)(const RoundArgs&) = nullptr;
  int64_t block = 1;  // rows at a time

  int64_t keys_floats() const { return packed_size(a.depth, a.columns, gemm->tile.width); }
  int64_t values_floats() const { return packed_size(a.columns, a.width, gemm->tile.width); }
  int64_t floats() const { return keys_floats() + values_floats() + block * (a.columns + a.depth); }
};

void round_to(const HeadPlan& p, AttentionPlace place, float* x, int64_t n) {
  const Rounding& r = p.a.at(place);
  if (r.scale != 0) p.round({n, x, x, r.scale, r.zero, r.low, r.high});
}

void multiply(const HeadPlan& p, int64_t m, int64_t n, int64_t k, const float* a, int64_t a_row, int64_t a_k, const float* b, float* c, int64_t c_row) {
  GemmArgs g;
  g.m = m;
  g.n = n;
  g.k = k;
  g.a = a;
  g.a_row = a_row;
  g.a_k = a_k;
  g.b = b;
  g.c = c;
  g.c_stride = c_row;
  g.low = -kInfinity;
  g.high = kInfinity;
  const int64_t height = tile_height(m, p.gemm->tile.rows);
  g.tile_end = (m + height - 1) / height;
  g.panel_end = panel_count(n, p.gemm->tile.width);
  p.gemm->run(g);
}

void scale_and_mask(const HeadPlan& p, float* scores, int64_t rows, const float* mask, int64_t mask_row, int64_t mask_column) {
  const int64_t n = p.a.columns;
  if (p.a.scale != 1) p.binary({Binary::mul, rows * n, scores, &p.a.scale, scores, 1, 0, -kInfinity, kInfinity});
  for (int64_t i = 0; mask && i < rows; ++i) {
    float* row = scores + i * n;
    p.binary({Binary::add, n, row, mask + i * mask_row, row, 1, mask_column != 0, -kInfinity, kInfinity});
  }
}

// Rows that the mask hides altogether are NaN.
void replace_nan(float* weights, int64_t rows, int64_t n) {
  for (int64_t i = 0; i < rows; ++i) {
    float* row = weights + i * n;
    if (std::any_of(row, row + n, [](float x) { return x != x; })) {
      std::replace_if(row, row + n, [](float x) { return x != x; }, 0.0f);
    }
  }
}

// The rows of a block of Q as they are, or rounded into `copy`.
const float* query_rows(const HeadPlan& p, const float* q, int64_t rows, float* copy, int64_t& row, int64_t& column) {
  row = p.a.q.stride[2];
  column = p.a.q.stride[3];
  if (p.a.at(AttentionPlace::q).scale == 0) return q;
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t d = 0; d < p.a.depth; ++d) copy[i * p.a.depth + d] = q[i * row + d * column];
  }
  round_to(p, AttentionPlace::q, copy, rows * p.a.depth);
  row = p.a.depth;
  column = 1;
  return copy;
}

struct Pointers {
  const float *q, *k, *v, *mask;
  float* out;
};

void one_head(const HeadPlan& p, const Pointers& at, int64_t batch, int64_t head, float* scratch) {
  const Attention& a = p.a;
  float* keys = scratch;
  float* values = keys + p.keys_floats();
  float* scores = values + p.values_floats();
  float* copy = scores + p.block * a.columns;
  const int width = p.gemm->tile.width;
  pack_b(a.depth, a.columns, at.k + a.k.offset(batch, head), a.k.stride[2], a.k.stride[3], width, keys);
  pack_b(a.columns, a.width, at.v + a.v.offset(batch, head), a.v.stride[2], a.v.stride[3], width, values);
  round_to(p, AttentionPlace::k, keys, p.keys_floats());
  round_to(p, AttentionPlace::v, values, p.values_floats());
  for (int64_t i = 0; i < a.rows; i += p.block) {
    const int64_t rows = std::min(p.block, a.rows - i);
    int64_t q_row = 0, q_column = 0;
    const float* q = query_rows(p, at.q + a.q.offset(batch, head) + i * a.q.stride[2], rows, copy, q_row, q_column);
    multiply(p, rows, a.columns, a.depth, q, q_row, q_column, keys, scores, a.columns);
    round_to(p, AttentionPlace::scores, scores, rows * a.columns);
    const float* mask = at.mask ? at.mask + a.mask.offset(batch, head) + i * a.mask.stride[2] : nullptr;
    scale_and_mask(p, scores, rows, mask, a.mask.stride[2], a.mask.stride[3]);
    p.softmax({rows, a.columns, 1, false, scores, scores});
    if (a.replaces_nan) replace_nan(scores, rows, a.columns);
    round_to(p, AttentionPlace::weights, scores, rows * a.columns);
    float* out = at.out + a.out.offset(batch, head) + i * a.out.stride[2];
    multiply(p, rows, a.width, a.columns, scores, a.columns, 1, values, out, a.out.stride[2]);
    for (int64_t r = 0; r < rows; ++r) round_to(p, AttentionPlace::output, out + r * a.out.stride[2], a.width);
  }
}

Step build_attention(Build& b) {
  const Attention a = attention_of(b.node, b.shape(0), b.shape(1), b.shape(2), b.has(3) ? &b.shape(3) : nullptr);
  if (bytes_hold(a)) return byte_attention_step(b, a);
  HeadPlan p{a, &fastest(kGemmKernels, b.isa)};
  p.binary = fastest(kBinaryKernels, b.isa).run;
  p.softmax = fastest(kSoftmaxKernels, b.isa).run;
  p.round = fastest(kRoundKernels, b.isa).run;
  const int64_t tile = p.gemm->tile.rows, fitting = kScoreFloats / std::max<int64_t>(p.a.columns, 1) / tile * tile;
  p.block = std::min(std::max(fitting, tile), p.a.rows);
  const Slot scratch = b.scratch(p.floats() * 4 * b.threads), q = b.in(0), k = b.in(1), v = b.in(2), mask = b.in(3), out = b.out();
  const int64_t macs = p.a.batch * p.a.heads * p.a.rows * p.a.columns * (p.a.depth + p.a.width);
  return {[=](const Run& run) {
            const Pointers at{run.at<float>(q), run.at<float>(k), run.at<float>(v), run.at<float>(mask), run.at<float>(out)};
            run.pool->share(p.a.batch * p.a.heads, [&](int64_t begin, int64_t end, int worker) {
              float* mine = run.at<float>(scratch) + worker * p.floats();
              for (int64_t i = begin; i < end; ++i) one_head(p, at, i / p.a.heads, i % p.a.heads, mine);
            });
          },
          std::string("attention of ") + p.gemm->name, "", macs};
}

constexpr Operator kOperators[] = {
    {"gossamer.Attention", 3, 4, "", float_types, infer_attention, build_attention},
};

}  // namespace

std::span<const Operator> attention_operators() { return kOperators; }

}  // namespace gossamer
