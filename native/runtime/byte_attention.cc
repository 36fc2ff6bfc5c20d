#include "runtime/byte_attention.h"

#include <algorithm>
#include <cstring>

#include "kernels/attention_rows/attention_rows.h"
#include "kernels/bytes/bytes.h"
#include "kernels/cell_maps/cell_maps.h"
#include "kernels/qgemm/qgemm.h"
#include "kernels/transpose/transpose.h"

namespace gossamer {
namespace {

constexpr int64_t kMostTerms = 16384;  // of a sum of products of bytes with its corrections
constexpr int64_t kBlockScores = 8192;  // they stay in the second cache level with what they meet
constexpr int64_t kLine = 64;

int64_t whole_cells(int64_t n) { return (n + 3) / 4 * 4; }

// The zero point of bytes seen as unsigned ones, and of these less 128.
int32_t unsigned_zero(const Rounding& r) { return static_cast<int32_t>(r.zero - r.low); }
int32_t signed_zero(const Rounding& r) { return unsigned_zero(r) - 128; }

// A thread's memory: where each part begins, in bytes.
struct Memory {
  int64_t bytes = 0;
  int64_t add(int64_t size) {
    const int64_t at = bytes;
    bytes += (size + kLine - 1) / kLine * kLine;
    return at;
  }
};

struct Heads {
  Attention a;
  const QgemmKernel* product = nullptr;
  void (*quantize)(const ByteQuantizeArgs&) = nullptr;
  void (*to_cells)(const CellQuantizeArgs&) = nullptr;
  void (*transpose)(const TransposeArgs&) = nullptr;
  void (*sum_bytes)(const ByteSumsArgs&) = nullptr;
  void (*softmax)(const ByteSoftmaxArgs&) = nullptr;
  void (*rows)(const SumRowsArgs&) = nullptr;
  int64_t block = 1, depth = 0, terms = 0;  // rows at a time; D and T in whole cells
  std::vector<int64_t> cell_offset, query_offset, weight_offset;
  Memory memory;
  int64_t queries = 0, keys = 0, packed_keys = 0, panel = 0, packed_values = 0, sums = 0, scratch = 0, weights = 0, key_bias = 0, value_bias = 0, start = 0;

  Heads(const Attention& attention, Isa isa)
      : a(attention), product(&fastest(kQgemmKernels, isa)), quantize(fastest(kByteQuantizeKernels, isa).run),
        to_cells(fastest(kCellQuantizeKernels, isa).run), transpose(fastest(kTransposeKernels, isa).run),
        sum_bytes(fastest(kByteSumsKernels, isa).run), softmax(fastest(kByteSoftmaxKernels, isa).run), rows(fastest(kSumRowsKernels, isa).run), depth(whole_cells(a.depth)), terms(whole_cells(a.columns)) {
    const int64_t tile = product->tile.rows, fitting = kBlockScores / std::max<int64_t>(a.columns, 1) / tile * tile;
    block = std::min(std::max(fitting, tile), a.rows);
    for (int64_t i = 0; i < std::max(depth, terms); i += 4) cell_offset.push_back(i);
    for (int64_t i = 0; i < block; ++i) query_offset.push_back(i * depth);
    for (int64_t i = 0; i < block; ++i) weight_offset.push_back(i * terms);
    place();
  }

  void place() {
    const int width = product->tile.width;
    queries = memory.add(block * depth);
    keys = memory.add(a.columns * depth);
    packed_keys = memory.add(packed_weights_s8_size(a.columns, depth / 4, width));
    panel = memory.add(a.columns * width * 4);
    packed_values = memory.add(packed_weights_s8_size(a.width, terms / 4, width));
    sums = memory.add(block * std::max(a.columns, a.width) * 4);
    scratch = memory.add((a.columns + 16) * 4);
    weights = memory.add(block * terms + kLine);
    key_bias = memory.add(a.columns * 4);
    value_bias = memory.add(a.width * 4);
    start = memory.add(block * 4);
  }

  const Rounding& at(AttentionPlace place) const { return a.at(place); }
};

// One head of one run, in a thread's memory.
struct Head {
  const Heads& h;
  std::byte* memory;

  template <class T>
  T* part(int64_t at) const {
    return reinterpret_cast<T*>(memory + at);
  }

  // K to signed bytes, rows of whole cells, and these to panels: cells of one row below each other.
  void pack_keys(const float* k) const {
    const Attention& a = h.a;
    const Rounding& r = h.at(AttentionPlace::k);
    const int32_t q_zero = unsigned_zero(h.at(AttentionPlace::q)), k_zero = signed_zero(r);
    int8_t* keys = part<int8_t>(h.keys);
    for (int64_t t = 0; t < a.columns; ++t) {
      int8_t* row = keys + t * h.depth;
      h.quantize({a.depth, k + t * a.k.stride[3], r.scale, k_zero, true, reinterpret_cast<uint8_t*>(row)});
      std::fill(row + a.depth, row + h.depth, int8_t{0});
    }
    h.sum_bytes({a.columns, a.depth, h.depth, part<uint8_t>(h.keys), true, -q_zero, q_zero * static_cast<int32_t>(a.depth) * k_zero, part<int32_t>(h.key_bias)});
    const int64_t width = h.product->tile.width, cells = h.depth / 4;
    for (int64_t t = 0; t < a.columns; t += width) {
      TransposeArgs args;
      args.rows = args.end = std::min(width, a.columns - t);
      args.columns = args.x_stride = cells;
      args.x = reinterpret_cast<const float*>(keys + t * h.depth);
      args.y = reinterpret_cast<float*>(part<int8_t>(h.packed_keys) + t * h.depth);
      args.y_stride = width;
      h.transpose(args);
    }
  }

  // V to panels of signed bytes: four rows of one column make a cell.
  void pack_values(const float* v) const {
    const Attention& a = h.a;
    const Rounding& r = h.at(AttentionPlace::v);
    const int64_t width = h.product->tile.width;
    for (int64_t e = 0; e < a.width; e += width) {
      const int64_t columns = std::min(width, a.width - e);
      float* panel = part<float>(h.panel);
      for (int64_t t = 0; t < a.columns; ++t) {
        std::copy_n(v + t * a.v.stride[2] + e, columns, panel + t * width);
        std::fill(panel + t * width + columns, panel + (t + 1) * width, 0.0f);
      }
      uint8_t* cells = part<uint8_t>(h.packed_values) + e * h.terms;
      h.to_cells({a.columns, width, panel, r.scale, unsigned_zero(r), cells, 0, h.terms / 4});
      flip_signs(cells, width * h.terms);
      sum_values(reinterpret_cast<const int8_t*>(cells), e, columns);
    }
  }

  // uint8 to int8 less 128; n is a multiple of 4.
  static void flip_signs(uint8_t* bytes, int64_t n) {
    for (int64_t i = 0; i < n; i += 4) {
      uint32_t four;
      std::memcpy(&four, bytes + i, 4);
      four ^= 0x80808080u;
      std::memcpy(bytes + i, &four, 4);
    }
  }

  // What belongs to each column of the result; nothing where weights of zero are bytes of zero.
  void sum_values(const int8_t* cells, int64_t first, int64_t columns) const {
    const int64_t width = h.product->tile.width;
    const int32_t w_zero = unsigned_zero(h.at(AttentionPlace::weights)), v_zero = signed_zero(h.at(AttentionPlace::v));
    for (int64_t e = 0; e < columns; ++e) {
      int32_t sum = 0;
      for (int64_t t = 0; w_zero && t < h.a.columns; ++t) sum += cells[(t / 4 * width + e) * 4 + t % 4];
      part<int32_t>(h.value_bias)[first + e] = w_zero * (static_cast<int32_t>(h.a.columns) * v_zero - sum);
    }
  }

  // start = -zero times the sum of each row's bytes.
  void start_rows(const uint8_t* x, int64_t rows, int64_t n, int64_t stride, int32_t zero) const {
    if (zero) h.sum_bytes({rows, n, stride, x, false, -zero, 0, part<int32_t>(h.start)});
    else std::fill_n(part<int32_t>(h.start), rows, 0);
  }

  void multiply(int64_t rows, int64_t n, int64_t depth, const uint8_t* x, const std::vector<int64_t>& offsets, const int8_t* packed, const int32_t* bias) const {
    QgemmArgs g;
    g.m = rows;
    g.n = n;
    g.cells = depth / 4;
    g.a = x;
    g.pixel_offset = offsets.data();
    g.cell_offset = h.cell_offset.data();
    g.b = packed;
    g.edge.bias = bias;
    g.y = part<int32_t>(h.sums);
    g.y_pixel = n;
    const int64_t height = tile_height(rows, h.product->tile.rows);
    g.tile_end = (rows + height - 1) / height;
    g.panel_end = panel_count(n, h.product->tile.width);
    h.product->run(g);
  }

  // The sums of a product, as numbers: rounded to the steps of `to`, where it has any.
  RowSums numbers(int64_t rows, int64_t n, float product, const Rounding& to, float scale) const {
    RowSums x;
    x.rows = rows;
    x.n = n;
    x.sums = part<int32_t>(h.sums);
    x.start = part<int32_t>(h.start);
    x.rounds = to.scale != 0;
    x.product = x.rounds ? product / to.scale : product;
    x.scale = x.rounds ? to.scale * scale : scale;
    x.low = to.low - to.zero;
    x.high = to.high - to.zero;
    return x;
  }

  void weigh(const float* q, const float* mask, int64_t rows) const {
    const Attention& a = h.a;
    const Rounding &r = h.at(AttentionPlace::q), &w = h.at(AttentionPlace::weights);
    uint8_t* queries = part<uint8_t>(h.queries);
    for (int64_t i = 0; i < rows; ++i) {
      h.quantize({a.depth, q + i * a.q.stride[2], r.scale, unsigned_zero(r), false, queries + i * h.depth});
      std::fill(queries + i * h.depth + a.depth, queries + (i + 1) * h.depth, uint8_t{0});
    }
    start_rows(queries, rows, a.depth, h.depth, signed_zero(h.at(AttentionPlace::k)));
    multiply(rows, a.columns, h.depth, queries, h.query_offset, part<int8_t>(h.packed_keys), part<int32_t>(h.key_bias));
    ByteSoftmaxArgs s;
    s.x = numbers(rows, a.columns, r.scale * h.at(AttentionPlace::k).scale, h.at(AttentionPlace::scores), a.scale);
    s.mask = mask;
    s.mask_row = a.mask.stride[2];
    s.mask_column = a.mask.stride[3];
    s.scratch = part<float>(h.scratch);
    s.y_scale = w.scale;
    s.y_zero = unsigned_zero(w);
    s.y = part<uint8_t>(h.weights);
    s.y_stride = h.terms;
    h.softmax(s);
  }

  void gather(int64_t rows, float* out) const {
    const Attention& a = h.a;
    const Rounding &w = h.at(AttentionPlace::weights), &v = h.at(AttentionPlace::v);
    const uint8_t* weights = part<uint8_t>(h.weights);
    start_rows(weights, rows, a.columns, h.terms, signed_zero(v));
    multiply(rows, a.width, h.terms, weights, h.weight_offset, part<int8_t>(h.packed_values), part<int32_t>(h.value_bias));
    h.rows({numbers(rows, a.width, w.scale * v.scale, h.at(AttentionPlace::output), 1), out, a.out.stride[2]});
  }
};

struct Pointers {
  const float *q, *k, *v, *mask;
  float* out;
};

void one_head(const Head& head, const Pointers& at, int64_t batch, int64_t index) {
  const Attention& a = head.h.a;
  head.pack_keys(at.k + a.k.offset(batch, index));
  head.pack_values(at.v + a.v.offset(batch, index));
  for (int64_t i = 0; i < a.rows; i += head.h.block) {
    const int64_t rows = std::min(head.h.block, a.rows - i);
    head.weigh(at.q + a.q.offset(batch, index) + i * a.q.stride[2], at.mask ? at.mask + a.mask.offset(batch, index) + i * a.mask.stride[2] : nullptr, rows);
    head.gather(rows, at.out + a.out.offset(batch, index) + i * a.out.stride[2]);
  }
}

bool together(int64_t stride, int64_t size) { return stride == 1 || size == 1; }

}  // namespace

bool bytes_hold(const Attention& a) {
  for (const AttentionPlace place : {AttentionPlace::q, AttentionPlace::k, AttentionPlace::v, AttentionPlace::weights}) {
    if (a.at(place).scale == 0) return false;
  }
  return !a.replaces_nan && a.depth > 0 && a.columns > 0 && a.depth <= kMostTerms && a.columns <= kMostTerms &&
         together(a.q.stride[3], a.depth) && together(a.k.stride[2], a.depth) && together(a.v.stride[3], a.width);
}

Step byte_attention_step(Build& b, const Attention& a) {
  const auto heads = std::make_shared<const Heads>(a, b.isa);
  const Slot scratch = b.scratch(heads->memory.bytes * b.threads), q = b.in(0), k = b.in(1), v = b.in(2), mask = b.in(3), out = b.out();
  return {[=](const Run& run) {
            const Attention& all = heads->a;
            const Pointers at{run.at<float>(q), run.at<float>(k), run.at<float>(v), run.at<float>(mask), run.at<float>(out)};
            run.pool->share(all.batch * all.heads, [&](int64_t begin, int64_t end, int worker) {
              const Head head{*heads, run.at<std::byte>(scratch) + worker * heads->memory.bytes};
              for (int64_t i = begin; i < end; ++i) one_head(head, at, i / all.heads, i % all.heads);
            });
          },
          std::string("attention of ") + heads->product->name, "", a.batch * a.heads * a.rows * a.columns * (a.depth + a.width)};
}

}  // namespace gossamer
