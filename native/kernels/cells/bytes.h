// What a sum of bytes becomes, in the words that bytes_*.h define.
#pragma once

namespace {

// How a sum and its residual of bytes become one number, before it is rounded.
struct Residual {
  const uint32_t* cells;
  bool rounds_mid;
  Floats mid_low, mid_high, keep, scale, shift;

  explicit Residual(const gossamer::CellConvArgs& a)
      : cells(static_cast<const uint32_t*>(a.residual)),
        rounds_mid(a.epilogue.rounds_mid),
        mid_low(broadcast(a.epilogue.mid_low)),
        mid_high(broadcast(a.epilogue.mid_high)),
        keep(broadcast(a.epilogue.keep)),
        scale(broadcast(a.epilogue.residual_scale)),
        shift(broadcast(a.epilogue.residual_shift)) {}

  // kByte: the row's place in its cell.
  template <int kByte>
  Floats added(Floats t, Bytes residual) const {
    if (rounds_mid) t = clamp(round(t), mid_low, mid_high);
    return multiply_add(t, keep, multiply_add(byte_of<kByte>(residual), scale, shift));
  }
  void add_to(Floats (&t)[4], int64_t place, const Lanes& lanes) const {
    const Bytes q = load_lanes(static_cast<const void*>(cells + place), lanes);
    t[0] = added<0>(t[0], q);
    t[1] = added<1>(t[1], q);
    t[2] = added<2>(t[2], q);
    t[3] = added<3>(t[3], q);
  }
};

inline void finish_bytes(const gossamer::CellConvArgs& a, int64_t place, const Lanes& lanes, const Floats (&t)[4]) {
  const gossamer::CellEpilogue& e = a.epilogue;
  Bytes cells = to_cells(t, e.zero);
  if (e.low > 0 || e.high < 255) cells = clamp_bytes(cells, static_cast<int>(e.low), static_cast<int>(e.high));
  store_lanes(cells, static_cast<uint32_t*>(a.out) + place, lanes);
}

inline void finish_floats(const gossamer::CellConvArgs& a, int64_t row, const Lanes& lanes, const Floats (&t)[4]) {
  const Floats low = broadcast(a.epilogue.low), high = broadcast(a.epilogue.high);
  for (int i = 0; i < 4 && row + i < a.weights.rows; ++i) {
    const int64_t place = (row + i) * a.plane() + lanes.pixel;
    Floats x = t[i];
    if (a.residual) x = add(x, load_lanes(static_cast<const float*>(a.residual) + place, lanes));
    store_lanes(clamp(x, low, high), static_cast<float*>(a.out) + place, lanes);
  }
}

inline void finish_sums(const gossamer::CellConvArgs& a, int64_t row, const Lanes& lanes, const Sum (&sums)[4]) {
  for (int i = 0; i < 4 && row + i < a.weights.rows; ++i) {
    void* to = static_cast<int32_t*>(a.out) + (row + i) * a.plane() + lanes.pixel;
    store_lanes(bits_of(sums[i]), to, lanes);
  }
}

// The sums themselves, or requantized in integers alone. Not inlined: rare, and long.
[[gnu::noinline]] void finish_integers(const gossamer::CellConvArgs& a, int64_t row, const Lanes& lanes, const Sum (&sums)[4]) {
  if (a.sums_out) return finish_sums(a, row, lanes, sums);
  const gossamer::CellEpilogue& e = a.epilogue;
  Floats t[4];
  for (int i = 0; i < 4; ++i) t[i] = to_floats(fixed_point_16(sums[i], e.multiplier[row + i], e.right_shift[row + i]));
  if (a.float_out) return finish_floats(a, row, lanes, t);
  finish_bytes(a, row / 4 * a.plane() + lanes.pixel, lanes, t);
}

// The four rows of each vector that has pixels.
template <int kVectors, class Function>
inline void each_vector(const Lanes* lanes, const Sum (&sums)[4][kVectors], const Function& f) {
  for (int v = 0; v < kVectors; ++v) {
    const Sum four[4] = {sums[0][v], sums[1][v], sums[2][v], sums[3][v]};
    if (lanes[v].count) f(lanes[v], four);
  }
}

// A loop for each kind of output, so that none asks which it is.
template <int kVectors>
void finish(const gossamer::CellConvArgs& a, int64_t row, const Lanes* lanes, const Sum (&sums)[4][kVectors]) {
  const gossamer::CellEpilogue& e = a.epilogue;
  if (a.sums_out || e.multiplier) {
    return each_vector(lanes, sums, [&](const Lanes& l, const Sum (&four)[4]) { finish_integers(a, row, l, four); });
  }
  Floats scale[4], shift[4], t[4];
  for (int i = 0; i < 4; ++i) {
    scale[i] = broadcast(e.scale[row + i]);
    shift[i] = broadcast(e.shift[row + i]);
  }
  const auto scaled = [&](const Sum (&four)[4]) {
    for (int i = 0; i < 4; ++i) t[i] = multiply_add(to_floats(four[i]), scale[i], shift[i]);
  };
  if (a.float_out) {
    return each_vector(lanes, sums, [&](const Lanes& l, const Sum (&four)[4]) {
      scaled(four);
      finish_floats(a, row, l, t);
    });
  }
  const int64_t plane = row / 4 * a.plane();
  if (!a.residual) {
    return each_vector(lanes, sums, [&](const Lanes& l, const Sum (&four)[4]) {
      scaled(four);
      finish_bytes(a, plane + l.pixel, l, t);
    });
  }
  const Residual residual(a);
  each_vector(lanes, sums, [&](const Lanes& l, const Sum (&four)[4]) {
    scaled(four);
    residual.add_to(t, plane + l.pixel, l);
    finish_bytes(a, plane + l.pixel, l, t);
  });
}

}  // namespace
