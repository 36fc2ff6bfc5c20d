#if defined(__x86_64__)
#include "kernels/simd/avx512_int.h"
#include "kernels/qgemm/qgemm.h"

namespace {
constexpr gossamer::Tile kTile = gossamer::kQgemmVnni;
}

#include "kernels/qgemm/body.h"

void gossamer::qgemm_avx512vnni(const QgemmArgs& args) { qgemm(args); }
#endif
