#include "kernels/half/bits.h"

namespace {

struct Halves {
  static constexpr int kLanes = 1;
  static void widen(const uint16_t* x, float* y) { *y = gossamer::half_value(*x); }
  static void narrow(const float* x, uint16_t* y) { *y = gossamer::half_bits(*x); }
};

}  // namespace

#include "kernels/half/body.h"

void gossamer::half_to_float_portable(const HalfToFloatArgs& args) { half_to_float(args); }
void gossamer::float_to_half_portable(const FloatToHalfArgs& args) { float_to_half(args); }
