#include "kernels/simd/portable_int.h"
#include "kernels/gemm/gemm.h"

namespace {
constexpr gossamer::Tile kTile = gossamer::kTilePortable;
constexpr int64_t kMostSteps = int64_t{1} << 40;
typedef uint32_t Words __attribute__((vector_size(16)));

inline I minus(I a, I b) { return {(I::Native)((Words)a.v - (Words)b.v)}; }
inline I differing(I a, I b) { return {a.v ^ b.v}; }
inline I differing(I a, I b, I mask) { return {(a.v ^ b.v) & mask.v}; }
// Bits of pairs, of fours, of bytes, of the whole word.
inline I counted(I counts, I words) {
  Words x = (Words)words.v;
  x = x - (x >> 1 & 0x55555555u);
  x = (x & 0x33333333u) + (x >> 2 & 0x33333333u);
  x = (x + (x >> 4)) & 0x0f0f0f0fu;
  return {(I::Native)((Words)counts.v + (x * 0x01010101u >> 24))};
}
inline I widened(I counts) { return counts; }
inline uint32_t signs_of(V x, V limit) {
  uint32_t bits = 0;
  for (int i = 0; i < V::kLanes; ++i) bits |= uint32_t{x.v[i] >= limit.v[i]} << i;
  return bits;
}
inline I marked(V x, V limit, I bit) { return {(x.v >= limit.v) & bit.v}; }
}  // namespace

#include "kernels/xnor/body.h"
#include "kernels/xnor/signs.h"

void gossamer::xnor_portable(const XnorArgs& args) { xnor_product(args); }
void gossamer::sign_row_portable(const SignRowArgs& args) { sign_row(args); }
void gossamer::sign_planes_portable(const SignPlanesArgs& args) { sign_planes(args); }
