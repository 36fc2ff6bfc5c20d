// Runs any row of any kernel table, or its reference, on plain arrays: packs, allocates scratch, calls. What tests and
// benchmarks use; the engine does not.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/attention_rows/attention_rows.h"
#include "kernels/bytes/bytes.h"
#include "kernels/cell_maps/cell_maps.h"
#include "kernels/cells/reference.h"
#include "kernels/codes/reference.h"
#include "kernels/col2im/col2im.h"
#include "kernels/conv/method.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/gemm/gemm.h"
#include "kernels/half/half.h"
#include "kernels/integer/requantize.h"
#include "kernels/peak/peak.h"
#include "kernels/pool/pool.h"
#include "kernels/qgemm/qgemm.h"
#include "kernels/rows/rows.h"
#include "kernels/sparse/sparse.h"
#include "kernels/transpose/transpose.h"
#include "kernels/xnor/xnor.h"

namespace gossamer {

struct RowName {
  std::string name;  // "gemm/avx2"
  Isa isa;
};

// Every row of every table.
std::vector<RowName> kernel_rows();

// `row`: a name of kernel_rows(), or "family/reference". std::invalid_argument for another name, or for an instruction
// set that this machine lacks. Matrices and weights are row-major as the reference.h of the family has them.
void check_gemm(const std::string& row, GemmArgs args);
void check_bf16(const std::string& row, GemmArgs args);
// Signs of floats: A(i, p) = x[i k + p] >= limit.
struct XnorCheck {
  XnorArgs args;  // b and mask: rows of words, (n, words)
  const float* x;
  int64_t k;
  float limit;
};
void check_xnor(const std::string& row, XnorCheck check);
void check_codes(const std::string& row, CodesCheck args);
void check_conv(const std::string& row, ConvArgs args);  // a row of any method of convolution
void check_col2im(const std::string& row, Col2imArgs args);
void check_pool(const std::string& row, PoolArgs args);
void check_qgemm(const std::string& row, QgemmArgs args);
void check_sparse(const std::string& row, SparseArgs args);
void check_round(const std::string& row, const RoundArgs& args);
void check_unary(const std::string& row, const UnaryArgs& args);
void check_binary(const std::string& row, const BinaryArgs& args);
void check_affine(const std::string& row, const AffineArgs& args);
void check_softmax(const std::string& row, const SoftmaxArgs& args);
void check_reduce(const std::string& row, const ReduceArgs& args);
void check_layer_norm(const std::string& row, const LayerNormArgs& args);
void check_transpose(const std::string& row, const TransposeArgs& args);
void check_requantize(const std::string& row, const RequantizeArgs& args);
void check_peak_floats(const std::string& row, PeakArgs args);
void check_peak_bytes(const std::string& row, PeakArgs args);
void check_cell_floats(const std::string& row, ConvArgs args);
void check_cell_bytes(const std::string& row, CellBytesCheck args);
void check_depthwise_cells(const std::string& row, CellBytesCheck args);
// Bytes in planes of cells, as the engine has them.
void check_cell_quantize(const std::string& row, CellQuantizeArgs args);
void check_cell_dequantize(const std::string& row, CellDequantizeArgs args);
void check_byte_softmax(const std::string& row, ByteSoftmaxArgs args);
void check_byte_sums(const std::string& row, ByteSumsArgs args);
void check_sum_rows(const std::string& row, SumRowsArgs args);
void check_byte_quantize(const std::string& row, ByteQuantizeArgs args);
void check_byte_dequantize(const std::string& row, ByteDequantizeArgs args);
void check_half_to_float(const std::string& row, HalfToFloatArgs args);
void check_float_to_half(const std::string& row, FloatToHalfArgs args);
void check_byte_add(const std::string& row, ByteBinaryArgs args);
void check_byte_multiply(const std::string& row, ByteBinaryArgs args);
void check_byte_lookup(const std::string& row, ByteLookupArgs args);
void check_cell_max_pool(const std::string& row, CellPoolArgs args);
void check_cell_average_pool(const std::string& row, CellPoolArgs args);
void check_cell_mean(const std::string& row, CellMeanArgs args);

}  // namespace gossamer
