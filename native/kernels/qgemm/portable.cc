#include "kernels/simd/portable_int.h"
#include "kernels/qgemm/qgemm.h"

namespace {
constexpr gossamer::Tile kTile = gossamer::kQgemmPortable;
}

#include "kernels/qgemm/body.h"

void gossamer::qgemm_portable(const QgemmArgs& args) { qgemm(args); }
