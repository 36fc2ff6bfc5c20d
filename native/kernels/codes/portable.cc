#include "kernels/simd/portable_int.h"
#include "kernels/gemm/gemm.h"

namespace {
constexpr gossamer::Tile kTile = gossamer::kTilePortable;
}

#include "kernels/codes/body.h"

void gossamer::codes_portable(const CodedPanels& w, int64_t panel, int64_t row, int64_t rows, int64_t columns, float* to) {
  decode_codes<kLookupRegisters>(w, panel, row, rows, columns, to);
}
