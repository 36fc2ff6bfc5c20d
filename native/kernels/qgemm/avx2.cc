#if defined(__x86_64__)
#include "kernels/simd/avx2_int.h"
#include "kernels/qgemm/qgemm.h"

namespace {
constexpr gossamer::Tile kTile = gossamer::kQgemmAvx2;
}

#include "kernels/qgemm/body.h"

void gossamer::qgemm_avx2(const QgemmArgs& args) { qgemm(args); }
#endif
