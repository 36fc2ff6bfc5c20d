#include "kernels/check.h"

#include <algorithm>

#include "kernels/attention_rows/reference.h"
#include "kernels/bf16/reference.h"
#include "kernels/bytes/reference.h"
#include "kernels/cells/cells.h"
#include "kernels/col2im/reference.h"
#include "kernels/conv/reference.h"
#include "kernels/depthwise_cells/depthwise_cells.h"
#include "kernels/integer/reference.h"
#include "kernels/elementwise/reference.h"
#include "kernels/find_row.h"
#include "kernels/gemm/reference.h"
#include "kernels/half/reference.h"
#include "kernels/peak/reference.h"
#include "kernels/pool/reference.h"
#include "kernels/qgemm/reference.h"
#include "kernels/rows/reference.h"
#include "kernels/sparse/reference.h"
#include "kernels/transpose/reference.h"
#include "kernels/xnor/reference.h"

namespace gossamer {
namespace {

template <class Table>
void add_rows(const Table& table, std::vector<RowName>& all) {
  for (const auto& row : table) all.push_back({row.name, row.isa});
}

template <class Args, class AnyRow, size_t kRows>
void check_plain(const AnyRow (&table)[kRows], void (*reference)(const Args&), const std::string& name, const Args& args) {
  if (const AnyRow* row = find_row(table, name)) row->run(args);
  else reference(args);
}

template <class Args>
void take_all(Args& args, Tile tile) {
  const int64_t height = tile_height(args.m, tile.rows);
  args.tile_end = height ? (args.m + height - 1) / height : 0;
  args.panel_end = panel_count(args.n, tile.width);
}

void check_method(const ConvMethod& method, const ConvKernel& row, ConvArgs args) {
  std::vector<float> packed(static_cast<size_t>(method.weights_size(args.shape, row.tile)));
  method.pack(args.shape, args.weights, row.tile, packed.data());
  std::vector<float> scratch(static_cast<size_t>(method.scratch(args.shape, row.tile)));
  args.weights = packed.data();
  args.scratch = scratch.data();
  args.task_end = method.tasks(args.shape, row.tile);
  row.run(args);
}

}  // namespace

std::vector<RowName> kernel_rows() {
  std::vector<RowName> all;
  add_rows(kGemmKernels, all);
  add_rows(kBf16Kernels, all);
  add_rows(kCodesKernels, all);
  add_rows(kXnorKernels, all);
  for (const ConvMethod* method : conv_methods()) add_rows(method->kernels(), all);
  add_rows(kPeakFloatKernels, all);
  add_rows(kPeakByteKernels, all);
  add_rows(kCol2imKernels, all);
  add_rows(kPoolKernels, all);
  add_rows(kQgemmKernels, all);
  add_rows(kSparseKernels, all);
  add_rows(kRoundKernels, all);
  add_rows(kByteSoftmaxKernels, all);
  add_rows(kByteSumsKernels, all);
  add_rows(kSumRowsKernels, all);
  add_rows(kByteQuantizeKernels, all);
  add_rows(kByteDequantizeKernels, all);
  add_rows(kHalfToFloatKernels, all);
  add_rows(kFloatToHalfKernels, all);
  add_rows(kRequantizeKernels, all);
  add_rows(kUnaryKernels, all);
  add_rows(kBinaryKernels, all);
  add_rows(kAffineKernels, all);
  add_rows(kSoftmaxKernels, all);
  add_rows(kReduceKernels, all);
  add_rows(kLayerNormKernels, all);
  add_rows(kCellFloatKernels, all);
  add_rows(kCellByteKernels, all);
  add_rows(kTransposeKernels, all);
  add_rows(kDepthwiseCellsKernels, all);
  add_rows(kCellQuantizeKernels, all);
  add_rows(kCellDequantizeKernels, all);
  add_rows(kByteAddKernels, all);
  add_rows(kByteMultiplyKernels, all);
  add_rows(kByteLookupKernels, all);
  add_rows(kCellMaxPoolKernels, all);
  add_rows(kCellAveragePoolKernels, all);
  add_rows(kCellMeanKernels, all);
  return all;
}

void check_gemm(const std::string& name, GemmArgs args) {
  const GemmKernel* row = find_row(kGemmKernels, name);
  if (!row) return gemm_reference(args);
  std::vector<float> packed(static_cast<size_t>(packed_size(args.k, args.n, row->tile.width)));
  pack_b(args.k, args.n, args.b, args.n, 1, row->tile.width, packed.data());
  args.b = packed.data();
  take_all(args, row->tile);
  row->run(args);
}

void check_bf16(const std::string& name, GemmArgs args) {
  const Bf16Kernel* row = find_row(kBf16Kernels, name);
  if (!row) return bf16_gemm_reference(args);
  const int64_t pairs = bf16_pairs(args.k);
  std::vector<uint32_t> left(static_cast<size_t>(args.m * pairs)), right(static_cast<size_t>(packed_size(pairs, args.n, row->tile.width)));
  for (int64_t i = 0; i < args.m; ++i) {
    const float* x = args.a + i * args.a_row;
    uint32_t* to = left.data() + i * pairs;
    if (args.a_k != 1) {
      pack_bf16_row(args.k, x, args.a_k, to, 1);
      continue;
    }
    row->round({x, x + 1, 2, args.k / 2, to});
    if (args.k % 2) row->round({x + args.k - 1, nullptr, 1, 1, to + args.k / 2});
  }
  pack_bf16(args.k, args.n, args.b, args.n, 1, 1.0f, row->tile.width, right.data());
  args.k = args.a_row = pairs;
  args.a_k = 1;
  args.a = reinterpret_cast<const float*>(left.data());
  args.b = reinterpret_cast<const float*>(right.data());
  take_all(args, row->tile);
  row->run(args);
}

void check_xnor(const std::string& name, XnorCheck check) {
  const XnorKernel* row = find_row(kXnorKernels, name);
  XnorArgs& args = check.args;
  std::vector<int32_t> left(static_cast<size_t>(args.m * args.words));
  for (int64_t i = 0; i < args.m; ++i) {
    const SignRowArgs signs{check.x + i * check.k, check.k, check.limit, left.data() + i * args.words};
    row ? row->row(signs) : sign_row_reference(signs);
  }
  args.a = left.data();
  if (!row) return xnor_reference(args);
  const int width = row->tile.width;
  const auto columns = static_cast<size_t>(panel_count(args.n, width) * width);
  std::vector<int32_t> right(columns * static_cast<size_t>(args.words)), mask(right.size()), bits(columns);
  pack_signs(args.n, args.words, args.b, width, right.data());
  if (args.mask) pack_signs(args.n, args.words, args.mask, width, mask.data());
  std::copy_n(args.bits, args.n, bits.data());
  args.b = right.data();
  args.mask = args.mask ? mask.data() : nullptr;
  args.bits = bits.data();
  take_all(args, row->tile);
  row->run(args);
}

void check_codes(const std::string& name, CodesCheck c) {
  const CodesKernel* row = find_row(kCodesKernels, name);
  if (!row) return codes_reference(c);
  const int64_t width = row->width, panels = panel_count(c.n, row->width), blocks = (c.k + c.block - 1) / c.block;
  std::vector<uint32_t> words(static_cast<size_t>(code_words(c.k, c.n, c.bits, row->width)));
  pack_codes(c.k, c.n, c.bits, row->width, [&](int64_t p, int64_t j) { return c.codes[p * c.n + j]; }, words.data());
  std::vector<float> scales(static_cast<size_t>(panels * blocks * width)), decoded(static_cast<size_t>((c.k - c.first) * width));
  std::vector<uint8_t> zeros(scales.size());
  for (int64_t b = 0; b < blocks; ++b) {
    for (int64_t j = 0; j < c.n; ++j) {
      const auto at = static_cast<size_t>((j / width * blocks + b) * width + j % width);
      scales[at] = c.scales[b * c.n + j];
      if (c.zeros) zeros[at] = c.zeros[b * c.n + j];
    }
  }
  const CodedPanels w{c.k, c.bits, row->width, words.data(), c.table, c.table_size, c.block, scales.data(), zeros.data(), row->run};
  for (int64_t panel = 0; panel < panels; ++panel) {
    row->run(w, panel, c.first, c.k - c.first, width, decoded.data());
    for (int64_t i = 0; i < (c.k - c.first) * width; ++i) {
      const int64_t column = panel * width + i % width;
      if (column < c.n) c.y[i / width * c.n + column] = decoded[static_cast<size_t>(i)];
    }
  }
}

void check_conv(const std::string& name, ConvArgs args) {
  const std::string family = name.substr(0, name.find('/'));
  for (const ConvMethod* method : conv_methods()) {
    const std::string first = method->kernels()[0].name;
    if (first.substr(0, first.find('/')) != family) continue;
    if (name == family + "/reference") return conv_reference(args);
    if (!method->fits(args.shape)) throw std::invalid_argument(name + " does not fit this shape");
    for (const ConvKernel& row : method->kernels()) {
      if (name == row.name && row.isa <= machine_isa()) return check_method(*method, row, args);
    }
  }
  throw std::invalid_argument("no kernel '" + name + "' on this machine");
}

void check_col2im(const std::string& name, Col2imArgs args) {
  std::vector<float> scratch(static_cast<size_t>(col2im_scratch(args)));
  args.scratch = scratch.data();
  args.channel_end = args.channels;
  check_plain(kCol2imKernels, col2im_reference, name, args);
}

void check_pool(const std::string& name, PoolArgs args) {
  std::vector<float> scratch(static_cast<size_t>(pool_scratch(args)));
  args.scratch = scratch.data();
  args.plane_end = args.planes;
  check_plain(kPoolKernels, pool_reference, name, args);
}

void check_qgemm(const std::string& name, QgemmArgs args) {
  const QgemmKernel* row = find_row(kQgemmKernels, name);
  if (!row) return qgemm_reference(args);
  const int width = row->tile.width;
  std::vector<int8_t> packed(static_cast<size_t>(packed_weights_s8_size(args.n, args.cells, width)));
  pack_weights_s8(args.n, 4 * args.cells, args.b, 4 * args.cells, 1, width, packed.data());
  args.b = packed.data();
  take_all(args, row->tile);
  row->run(args);
}

void check_sparse(const std::string& name, SparseArgs args) {
  std::vector<float> scratch(static_cast<size_t>(args.w.columns * kSparseLanes));
  args.scratch = scratch.data();
  args.row_end = args.w.rows;
  check_plain(kSparseKernels, sparse_reference, name, args);
}

void check_byte_softmax(const std::string& name, ByteSoftmaxArgs args) {
  check_plain(kByteSoftmaxKernels, byte_softmax_reference, name, args);
}

void check_byte_sums(const std::string& name, ByteSumsArgs args) { check_plain(kByteSumsKernels, byte_sums_reference, name, args); }
void check_sum_rows(const std::string& name, SumRowsArgs args) { check_plain(kSumRowsKernels, sum_rows_reference, name, args); }

void check_byte_quantize(const std::string& name, ByteQuantizeArgs args) {
  check_plain(kByteQuantizeKernels, byte_quantize_reference, name, args);
}

void check_byte_dequantize(const std::string& name, ByteDequantizeArgs args) {
  check_plain(kByteDequantizeKernels, byte_dequantize_reference, name, args);
}

void check_half_to_float(const std::string& name, HalfToFloatArgs args) {
  check_plain(kHalfToFloatKernels, half_to_float_reference, name, args);
}

void check_float_to_half(const std::string& name, FloatToHalfArgs args) {
  check_plain(kFloatToHalfKernels, float_to_half_reference, name, args);
}

void check_round(const std::string& name, const RoundArgs& args) { check_plain(kRoundKernels, round_reference, name, args); }
void check_unary(const std::string& name, const UnaryArgs& args) { check_plain(kUnaryKernels, unary_reference, name, args); }
void check_binary(const std::string& name, const BinaryArgs& args) { check_plain(kBinaryKernels, binary_reference, name, args); }
void check_affine(const std::string& name, const AffineArgs& args) { check_plain(kAffineKernels, affine_reference, name, args); }
void check_transpose(const std::string& name, const TransposeArgs& args) { check_plain(kTransposeKernels, transpose_reference, name, args); }
void check_softmax(const std::string& name, const SoftmaxArgs& args) { check_plain(kSoftmaxKernels, softmax_reference, name, args); }
void check_reduce(const std::string& name, const ReduceArgs& args) { check_plain(kReduceKernels, reduce_reference, name, args); }
void check_layer_norm(const std::string& name, const LayerNormArgs& args) { check_plain(kLayerNormKernels, layer_norm_reference, name, args); }
void check_requantize(const std::string& name, const RequantizeArgs& args) { check_plain(kRequantizeKernels, requantize_reference, name, args); }
void check_peak_floats(const std::string& name, PeakArgs args) { check_plain(kPeakFloatKernels, peak_reference, name, args); }
void check_peak_bytes(const std::string& name, PeakArgs args) { check_plain(kPeakByteKernels, peak_reference, name, args); }

}  // namespace gossamer
