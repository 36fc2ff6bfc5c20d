#include <vector>

#include "kernels/cell_maps/reference.h"
#include "kernels/check.h"
#include "kernels/find_row.h"

namespace gossamer {
namespace {

template <class Args, class AnyRow, size_t kRows>
void check_map(const AnyRow (&table)[kRows], void (*reference)(const Args&), const std::string& name, const Args& args) {
  if (const AnyRow* row = find_row(table, name)) row->run(args);
  else reference(args);
}

int64_t planes(int64_t channels) { return (channels + 3) / 4; }

template <class Table>
void check_pool(const Table& table, void (*reference)(const CellPoolArgs&), const std::string& name, CellPoolArgs args) {
  std::vector<uint32_t> scratch(static_cast<size_t>(cell_pool_scratch(args)));
  args.scratch = scratch.data();
  check_map(table, reference, name, args);
}

}  // namespace

void check_cell_quantize(const std::string& name, CellQuantizeArgs args) {
  args.plane_end = planes(args.channels);
  check_map(kCellQuantizeKernels, cell_quantize_reference, name, args);
}

void check_cell_dequantize(const std::string& name, CellDequantizeArgs args) {
  args.plane_end = planes(args.channels);
  check_map(kCellDequantizeKernels, cell_dequantize_reference, name, args);
}

void check_byte_add(const std::string& name, ByteBinaryArgs args) { check_map(kByteAddKernels, byte_add_reference, name, args); }

void check_byte_multiply(const std::string& name, ByteBinaryArgs args) {
  check_map(kByteMultiplyKernels, byte_multiply_reference, name, args);
}

void check_byte_lookup(const std::string& name, ByteLookupArgs args) { check_map(kByteLookupKernels, byte_lookup_reference, name, args); }

void check_cell_max_pool(const std::string& name, CellPoolArgs args) {
  check_pool(kCellMaxPoolKernels, cell_max_pool_reference, name, args);
}

void check_cell_average_pool(const std::string& name, CellPoolArgs args) {
  check_pool(kCellAveragePoolKernels, cell_average_pool_reference, name, args);
}

void check_cell_mean(const std::string& name, CellMeanArgs args) {
  args.plane_end = planes(args.channels);
  check_map(kCellMeanKernels, cell_mean_reference, name, args);
}

}  // namespace gossamer
