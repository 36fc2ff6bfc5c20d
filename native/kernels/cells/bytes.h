// What a sum of bytes becomes, in the words that bytes_*.h define.
#pragma once

namespace {

// With its residual, before it is rounded. kByte: the row's place in its cell.
template <int kByte>
inline Floats with_residual(const gossamer::CellEpilogue& e, Floats t, Bytes residual) {
  const Floats q = multiply_add(byte_of<kByte>(residual), broadcast(e.residual_scale), broadcast(e.residual_shift));
  if (e.rounds_mid) t = clamp(round(t), broadcast(e.mid_low), broadcast(e.mid_high));
  return multiply_add(t, broadcast(e.keep), q);
}

inline void finish_bytes(const gossamer::CellConvArgs& a, int64_t row, const Lanes& lanes, Floats (&t)[4]) {
  const gossamer::CellEpilogue& e = a.epilogue;
  const int64_t place = row / 4 * a.plane() + lanes.pixel;
  if (a.residual) {
    const Bytes q = load_lanes(static_cast<const void*>(static_cast<const uint32_t*>(a.residual) + place), lanes);
    t[0] = with_residual<0>(e, t[0], q);
    t[1] = with_residual<1>(e, t[1], q);
    t[2] = with_residual<2>(e, t[2], q);
    t[3] = with_residual<3>(e, t[3], q);
  }
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

inline Floats scaled(const gossamer::CellEpilogue& e, int64_t row, Sum sum) {
  if (e.multiplier) return to_floats(fixed_point_16(sum, e.multiplier[row], e.right_shift[row]));
  return multiply_add(to_floats(sum), broadcast(e.scale[row]), broadcast(e.shift[row]));
}

inline void finish(const gossamer::CellConvArgs& a, int64_t row, const Lanes& lanes, const Sum (&sums)[4]) {
  if (!lanes.count) return;
  if (a.sums_out) return finish_sums(a, row, lanes, sums);
  Floats t[4];
  for (int i = 0; i < 4; ++i) t[i] = scaled(a.epilogue, row + i, sums[i]);
  if (a.float_out) return finish_floats(a, row, lanes, t);
  finish_bytes(a, row, lanes, t);
}

}  // namespace
