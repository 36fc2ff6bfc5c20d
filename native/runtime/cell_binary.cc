#include "runtime/cell_binary.h"

#include <algorithm>

#include "runtime/cell_shape.h"
#include "runtime/strided.h"

namespace gossamer {
namespace {

// One tensor of the two: as it is, or as a copy of the output's shape.
struct Prepared {
  Slot slot, copy = kNoSlot;
  Walk walk;
  bool one_cell = false;  // for each plane
  bool one_image = false;

  const uint8_t* at(const Run& run) const { return run.at<uint8_t>(copy == kNoSlot ? slot : copy); }
  void expand(const Run& run) const {
    if (copy != kNoSlot) copy_strided(walk, 4, run.at<std::byte>(slot), run.at<std::byte>(copy));
  }
};

Prepared prepare(Build& b, const CellOperand& operand, bool may_be_one_cell) {
  const Shape &x = operand.shape, &out = b.out_shape();
  Prepared o{operand.slot, kNoSlot, {}};
  if (x == out) {
    if (operand.value != kAbsent) b.in_place.push_back(operand.value);
    return o;
  }
  if (may_be_one_cell && x.size() == out.size() && x[1] == out[1] && pixels_of(x) == 1) {
    o.one_cell = true;
    o.one_image = x[0] != out[0];
    return o;
  }
  const Shape from(x.begin(), x.end() - 1), to(out.begin(), out.end() - 1), all = broadcast_strides(to, to);
  o.walk = make_walk(to, all, broadcast_strides(from, to), all);
  o.copy = b.scratch(element_count(out));
  return o;
}

}  // namespace

Step cell_binary_step(Build& b, const Row<void (*)(const ByteBinaryArgs&)>& kernel, ByteBinaryArgs fixed, CellOperand left,
                      CellOperand right) {
  const Shape& out = b.out_shape();
  if (left.shape != out && right.shape == out) {
    std::swap(left, right);
    std::swap(fixed.a_scale, fixed.b_scale);
    std::swap(fixed.a_zero, fixed.b_zero);
  }
  const Prepared x = prepare(b, left, false), z = prepare(b, right, true);
  fixed.one_cell = z.one_cell;
  const int64_t planes = out[0] * out[1], count = element_count(out);
  const int64_t share = z.one_cell ? pixels_of(out) * 4 : 64, shares = z.one_cell ? planes : (count + 63) / 64;
  const auto run = [=, per_image = out[1], y = b.out(), compute = kernel.run](const Run& run) {
    x.expand(run);
    z.expand(run);
    run.pool->share(shares, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; i = z.one_cell ? i + 1 : end) {
        const int64_t from = i * share, to = z.one_cell ? from + share : std::min(end * share, count);
        ByteBinaryArgs a = fixed;
        a.bytes = to - from;
        a.a = x.at(run) + from;
        a.b = z.at(run) + (z.one_cell ? (z.one_image ? i % per_image : i) * 4 : from);
        a.y = run.at<uint8_t>(y) + from;
        compute(a);
      }
    });
  };
  const bool copies = x.copy != kNoSlot || z.copy != kNoSlot;
  return {run, kernel.name, copies ? "a tensor of another shape is copied first" : ""};
}

}  // namespace gossamer
