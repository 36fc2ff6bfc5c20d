#if defined(__x86_64__)
#include "kernels/simd/avx512_int.h"
#include "kernels/gemm/gemm.h"

namespace {
constexpr gossamer::Tile kTile = gossamer::kTileAvx512;
}

#include "kernels/codes/body.h"

void gossamer::codes_avx512(const CodedPanels& w, int64_t panel, int64_t row, int64_t rows, int64_t columns, float* to) {
  decode_codes<kLookupRegisters>(w, panel, row, rows, columns, to);
}
#endif
