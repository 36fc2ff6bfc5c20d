#include "runtime/sparse_product.h"

#include "kernels/transpose/transpose.h"

namespace gossamer {
namespace {

ConvShape shape_of(const SparseProduct& p) {
  ConvShape s;
  s.in_channels = p.k;
  s.out_channels = p.n;
  s.in_w = s.out_w = p.m;
  return s;
}

// Transposes rows x columns 32-bit elements from one slot to another.
struct Transposition {
  TransposeArgs args;
  void (*kernel)(const TransposeArgs&);
  Slot from, to;

  Transposition(Isa isa, int64_t rows, int64_t columns, Slot x, Slot y)
      : kernel(fastest(kTransposeKernels, isa).run), from(x), to(y) {
    args.rows = rows;
    args.columns = args.x_stride = columns;
    args.y_stride = rows;
  }

  void run(const Run& run) const {
    constexpr int64_t kStripe = 16;  // rows
    run.pool->share((args.rows + kStripe - 1) / kStripe, [&](int64_t begin, int64_t end, int) {
      TransposeArgs a = args;
      a.x = run.at<float>(from);
      a.y = run.at<float>(to);
      a.begin = begin * kStripe;
      a.end = end * kStripe < a.rows ? end * kStripe : a.rows;
      kernel(a);
    });
  }
};

}  // namespace

// Cycles for a vector of 16 results, measured on Zen 4. Dense: one for each cell of weights and the epilogue. Sparse: what
// is kept, in the best of the patterns, the epilogue, and the transpositions.
bool prefers_sparse_product(const SparseProduct& p) {
  if (p.k % 4 || p.n % 4) return false;  // rows that are not whole cells cannot be transposed as cells
  const ConvShape s = shape_of(p);
  const CellWeights w = pack_cell_weights(s, CellPlanes(s, p.k / 4), p.conv.byte_weights, CellForm::bytes);
  const double kept = static_cast<double>(w.kept) / static_cast<double>(p.n);
  const double cost = w.group_rows == 4 ? 1.1 : w.group_rows == 2 ? 1.4 : 2.2;
  const double waste = static_cast<double>((p.m + 15) / 16 * 16) / static_cast<double>(p.m);
  const double transposed = 6.0 * (p.conv.float_out ? 1.0 : 0.25) + 1.5 * static_cast<double>(p.k) / static_cast<double>(p.n);
  return waste * (cost * kept + 9 + transposed) < 1.03 * static_cast<double>(p.k) / 4 + 10;
}

Step sparse_product_step(Build& b, SparseProduct p) {
  p.conv.shape = shape_of(p);
  const Slot x = p.conv.x, y = p.conv.y;
  const int64_t out_cells = p.conv.float_out ? p.n : p.n / 4;
  p.conv.x = b.scratch(p.m * p.k + kReadBehind);
  p.conv.y = b.scratch(p.m * out_cells * 4);
  const Transposition in(b.isa, p.m, p.k / 4, x, p.conv.x), out(b.isa, out_cells, p.m, p.conv.y, y);
  Step step = cell_conv_step(b, p.conv);
  step.run = [in, out, product = std::move(step.run)](const Run& run) {
    in.run(run);
    product(run);
    out.run(run);
  };
  return step;
}

}  // namespace gossamer
